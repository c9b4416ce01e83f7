"""What the contract needs to know of a loss, and the kinds of pairs losses take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from dipole import Pairs
from dipole.core.ranks import Ring
from dipole.core.relations import Diagonal, Listed, Match
from dipole.core.scores import Channel, Dot
from dipole.core.stacked import stacked
from dipole.core.vectors import wide


@dataclass(frozen=True)
class Kind:
    """How pairs arise from aligned sides and labels: whole, and from a ring's local part (None: not on a ring).

    ``negatives``: how hard negatives are added, where they can be. ``one_sided``: keys are the queries and get no gradient of
    their own.
    """

    whole: Callable[..., Pairs]
    ring: Callable[..., Pairs] | None
    negatives: Callable[..., Pairs] | None = Pairs.with_negatives
    one_sided: bool = False


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(wide(vectors), dim=1)


def teacher(vectors: torch.Tensor) -> torch.Tensor:
    """What a teacher makes of the items: other vectors, without a gradient."""
    return unit(vectors.detach().flip(-1))


def taught(pairs: Pairs) -> Pairs:
    """With a teacher's scores beside the own ones."""
    return replace(pairs, channels={"teacher": Channel(teacher(pairs.queries), teacher(pairs.keys), Dot())})


def graded(labels: torch.Tensor) -> Listed:
    """Labels that are both odd or both even belong together, by different amounts."""
    row, col = (labels[:, None] % 2 == labels[None, :] % 2).nonzero(as_tuple=True)
    return Listed.of(row, col, 0.5 + ((labels[row] + 2 * labels[col]) % 3))


def noted(pairs: Pairs, labels: torch.Tensor) -> Pairs:
    """With a label and a relevance of each row, and a label and a propensity of each column."""
    rows = {"label": labels, "score": 1 + labels % 3}
    return replace(pairs, rows=rows, cols={"label": labels, "propensity": propensity(labels)})


def propensity(labels: torch.Tensor) -> torch.Tensor:
    return 1 / (2.0 + labels % 5)


def aligned(q: torch.Tensor, k: torch.Tensor, labels: torch.Tensor | None = None) -> Pairs:
    return Pairs.aligned(q, k)


def owned(q: torch.Tensor, k: torch.Tensor, labels: torch.Tensor) -> Pairs:
    """Aligned pairs, and one hard negative for each row."""
    own = torch.arange(len(q))
    return replace(aligned(q, k), cols={"owner": own}).with_negatives(k.flip(1), cols={"owner": own})


def aligned_ring(q: torch.Tensor, k: torch.Tensor, labels: torch.Tensor | None, ring: Ring) -> Pairs:
    return Pairs(q, k, Diagonal(0, ring.row_starts[-1]), ring=ring)


def three_views(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """(N, 3, d): both sides, and the keys with their dimensions turned round."""
    return torch.stack([q, k, k.flip(1)], dim=1)


def twins(pairs: Pairs) -> Pairs:
    """With what a slow copy of the encoder makes of both sides."""
    slow = [wide(side.detach()).flip(-1) for side in (pairs.queries, pairs.keys)]
    return replace(pairs, channels={"twin": Channel(*slow, Dot())})


def described(pairs: Pairs, labels: torch.Tensor) -> Pairs:
    """With a class, a number, and the image each item is from; columns of the next class are taken to show the row's image."""
    about = {"label": labels, "score": labels.to(torch.float32) / 3}
    return replace(pairs, rows={**about, "id": labels}, cols={**about, "id": labels - 1})


def paired(pairs: Pairs, labels: torch.Tensor) -> Pairs:
    """With a second class of each row, whose items are its positives; neither class is negative."""
    partner = labels ^ 1
    return replace(
        pairs,
        positive=Match(partner, labels, others_only=True),
        duplicates=(Match(labels, labels),),
        rows={"label": labels, "partner": partner},
    )


def itself(q: torch.Tensor, labels: torch.Tensor, ring: Ring) -> Pairs:
    """Labelled items against themselves on a ring."""
    return Pairs(q, q, Match(labels, labels, others_only=True), excluded=(Diagonal(0, ring.row_starts[-1]),), ring=ring)


PAIRS: dict[str, Kind] = {
    "twins": Kind(
        lambda q, k, labels: twins(aligned(q[:, :5], k[:, :5])),
        lambda q, k, labels, ring: twins(aligned_ring(q[:, :5], k[:, :5], labels, ring)),
        lambda pairs, new, owner: pairs.with_negatives(new[:, :5], owner, channels={"twin": new[:, :5].detach()}),
    ),
    "described": Kind(
        lambda q, k, labels: described(Pairs.labelled(q, labels), labels),
        lambda q, k, labels, ring: described(itself(q, labels, ring), labels),
        negatives=None,
        one_sided=True,
    ),
    "numbered": Kind(
        lambda q, k, labels: described(Pairs.labelled(unit(q), labels), labels),
        None,
        negatives=None,
        one_sided=True,
    ),
    "prototypes": Kind(
        lambda q, k, labels: replace(Pairs(q, k, Diagonal(0, len(q))), cols={"concentration": propensity(labels)}),
        lambda q, k, labels, ring: replace(aligned_ring(q, k, labels, ring), cols={"concentration": propensity(labels)}),
        lambda pairs, new, owner: pairs.with_negatives(new, owner, cols={"concentration": propensity(owner)}),
    ),
    "aligned": Kind(aligned, aligned_ring),
    "cosines": Kind(
        lambda q, k, labels: aligned(unit(q), unit(k)),
        lambda q, k, labels, ring: aligned_ring(unit(q), unit(k), labels, ring),
        lambda pairs, new, owner: pairs.with_negatives(unit(new), owner),
    ),
    "taught": Kind(
        lambda *given: taught(aligned(*given)),
        lambda *given: taught(aligned_ring(*given)),
        lambda pairs, new, owner: pairs.with_negatives(new, owner, channels={"teacher": teacher(new)}),
    ),
    "noted": Kind(
        lambda q, k, labels: noted(aligned(q, k), labels),
        lambda q, k, labels, ring: noted(aligned_ring(q, k, labels, ring), labels),
        lambda pairs, new, owner: pairs.with_negatives(new, owner, cols={"propensity": propensity(owner)}),
    ),
    "owned": Kind(owned, None, lambda pairs, new, owner: pairs.with_negatives(new, owner, cols={"owner": owner})),
    "five": Kind(
        lambda q, k, labels: aligned(q[:, :5], k[:, :5]),
        lambda q, k, labels, ring: aligned_ring(q[:, :5], k[:, :5], labels, ring),
    ),
    "graded": Kind(lambda q, k, labels: Pairs(q, k, graded(labels)), lambda q, k, labels, ring: Pairs(q, k, graded(labels), ring=ring)),
    "graded, square": Kind(
        lambda q, k, labels: Pairs(q, k, graded(labels)), lambda q, k, labels, ring: Pairs(q, k, graded(labels), ring=ring), None
    ),
    "labelled": Kind(
        lambda q, k, labels: Pairs.labelled(q, labels),
        lambda q, k, labels, ring: itself(q, labels, ring),
        negatives=None,
        one_sided=True,
    ),
    "two classes": Kind(
        lambda q, k, labels: paired(Pairs.labelled(q[:, :5], labels), labels),
        lambda q, k, labels, ring: paired(itself(q[:, :5], labels, ring), labels),
        negatives=None,
        one_sided=True,
    ),
    "listed": Kind(
        lambda q, k, labels: taught(replace(aligned(q, k), rows={"list": labels}, cols={"list": labels})),
        None,
        lambda pairs, new, owner: pairs.with_negatives(
            new, owner, cols={"list": pairs.rows["list"][owner]}, channels={"teacher": teacher(new)}
        ),
    ),
    "five, at hand": Kind(
        lambda q, k, labels: aligned(q[:, :5], k[:, :5]),
        None,
        lambda pairs, new, owner: pairs.with_negatives(new[:, :5], owner),
    ),
    "classes": Kind(
        lambda q, k, labels: Pairs.labelled(q[:, :5], labels),
        lambda q, k, labels, ring: Pairs(v := q[:, :5], v, Match(labels, labels), rows={"label": labels}, ring=ring),
        negatives=None,
        one_sided=True,
    ),
    "forget": Kind(
        lambda q, k, labels: replace(aligned(q, k), rows={"forget": labels % 2 == 1}),
        lambda q, k, labels, ring: replace(aligned_ring(q, k, labels, ring), rows={"forget": labels % 2 == 1}),
        negatives=None,
    ),
    "scored": Kind(
        lambda q, k, labels: replace(aligned(q, k), rows={"score": labels}),
        lambda q, k, labels, ring: replace(aligned_ring(q, k, labels, ring), rows={"score": labels}),
        negatives=None,
    ),
    "stacked": Kind(
        lambda q, k, labels: stacked(three_views(q, k)),
        lambda q, k, labels, ring: Pairs(v := three_views(q, k), v, Diagonal(0, ring.row_starts[-1]), ring=ring),
        negatives=None,
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
