"""Models in folders and from the hub: what is safe to open, where to look first, what to say when nothing is found."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dipole.core.errors import CheckpointError, UsageError
from dipole.core.extras import need

T = TypeVar("T")
log = logging.getLogger(__name__)
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def opened(name: str, place: str, local: bool, how: Callable[[str, bool], T], also: str = "") -> T:
    """``how(place, offline)``, first without the network. ``also``: a further name the remedy offers.

    Raises CheckpointError where a local folder cannot be opened, UsageError where the model cannot be found.
    """
    with without_bars():
        if local:
            try:
                return how(place, True)
            except Exception as error:
                rule = f"{place}: the model cannot be opened ({_first_line(error)}); save it again or fetch a fresh copy"
                raise CheckpointError(rule) from error
        try:
            return how(place, True)
        except Exception as error:
            log.debug("%s is not in the local cache: %s", name, error)
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
            raise UsageError(
                f"model {name!r} is no folder and not in the local cache, and HF_HUB_OFFLINE is set; unset it once to fetch the model, "
                f"or give a model folder{also}"
            )
        try:
            return how(place, False)
        except Exception as error:
            raise UsageError(
                f"model {name!r} is no folder, not in the local cache, and could not be fetched ({_first_line(error)}); "
                f"check the name and the connection, or give a model folder{also}"
            ) from error


def model_folder(path: Path) -> Path:
    """The folder with the model's files: ``path``, or ``path/model`` of a run."""
    for folder in (path, path / "model"):
        if (folder / "modules.json").is_file() or (folder / "config.json").is_file():
            refuse_pickles(folder)
            return folder
    if (path / "checkpoints").is_dir():
        raise UsageError(f"run {path} has no finished model yet; resume it with: dipole train --resume {path}")
    raise UsageError(f"folder {path} holds no model: modules.json or config.json is missing")


def refuse_pickles(folder: Path) -> None:
    """Raise CheckpointError where a weight file of the model folder would have to be unpickled."""
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and p.name != "checkpoints")):
        for name in _PICKLED:
            if (place / name).is_file() and not any(place.glob("*.safetensors")):
                raise CheckpointError(
                    f"{place / name}: weights must be safetensors, a pickle can run code when opened; "
                    "convert it with transformers' save_pretrained(..., safe_serialization=True)"
                )


@contextmanager
def without_bars() -> Iterator[None]:
    """Silence transformers' own progress bars for a while."""
    logging_of = need("transformers.utils.logging", "text", "pretrained models")
    shown = logging_of.is_progress_bar_enabled()
    logging_of.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging_of.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
