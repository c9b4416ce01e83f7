"""What the contract needs to know of a loss, and the kinds of pairs losses take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dipole import Pairs
from dipole.core.relations import Diagonal, Match
from dipole.views.aligned import Aligned
from dipole.views.labelled import Labelled


@dataclass(frozen=True)
class Kind:
    """How pairs arise from aligned sides and labels: whole, and from a ring's local part (None: not on a ring).

    ``negatives``: hard negatives can be added. ``one_sided``: keys are the queries and get no gradient of their own.
    ``views``: the part that makes such pairs of rows.
    """

    whole: Callable[..., Pairs]
    ring: Callable[..., Pairs] | None
    negatives: bool = True
    one_sided: bool = False
    views: Callable[[], Any] = Aligned


PAIRS: dict[str, Kind] = {
    "aligned": Kind(
        lambda q, k, labels: Pairs.aligned(q, k),
        lambda q, k, labels, ring: Pairs(q, k, Diagonal(0, ring.row_starts[-1]), ring=ring),
    ),
    "labelled": Kind(
        lambda q, k, labels: Pairs.labelled(q, labels),
        lambda q, k, labels, ring: Pairs(
            q, q, Match(labels, labels, others_only=True), excluded=(Diagonal(0, ring.row_starts[-1]),), ring=ring
        ),
        negatives=False,
        one_sided=True,
        views=Labelled,
    ),
}


def skip_exempt(request):
    """Skip a contract test of a loss that has a reason not to pass it. For an autouse fixture of the test's file."""
    from tests.catalogue import LOSSES  # the catalogue is made of this module's cases

    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    reason = LOSSES[name].exempt.get(request.node.originalname) if name in LOSSES else None
    if reason:
        pytest.skip(reason)


@dataclass(frozen=True)
class Case:
    """A loss under the contract. ``extreme``: temperature -> the parameters that set it, None where there is none.

    ``exempt``: contract test -> why it does not apply. Named, and only shrinking.
    """

    make: Callable[[], Any]
    pairs: str = "aligned"
    extreme: Callable[[float], Mapping[str, float]] | None = lambda temperature: {"temperature": temperature}
    exempt: Mapping[str, str] = field(default_factory=dict)
