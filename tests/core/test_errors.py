"""Errors cross from process to process as they are."""

from __future__ import annotations

import pickle

import pytest

from dipole.core.errors import DataError, DipoleError, MissingExtraError, ParameterError, UnknownNameError, UsageError


@pytest.mark.parametrize(
    "error",
    [
        UsageError("the call is wrong"),
        UnknownNameError("loss", "infonec", ["infonce"], "losses"),
        ParameterError("dcl", "temperature", "above 0", -1.0),
        MissingExtraError("text", "a model", "transformers"),
        DataError("ragged", path="a.csv", line=3, column="x", value=7, remedy="quote it"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_whole_through_pickle(error: DipoleError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
    assert again.exit_code == error.exit_code
