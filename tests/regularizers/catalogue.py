"""Every regularizer with sides it is defined on: the list its contract tests walk.

A module of ``dipole.regularizers`` that is missing here turns ``test_every_regularizer_is_in_the_catalogue`` red.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dipole.core.encoded import Encoded
from dipole.core.protocols import Batch
from dipole.core.vectors import wide
from dipole.losses import InfoNCE
from dipole.regularizers import (
    Anisotropy,
    AttributeAlignment,
    Chamfer,
    Communities,
    Covariance,
    CrossCorrelation,
    CrossEntropy,
    EffectiveRank,
    FineGrained,
    FlowPrior,
    Fusion,
    JointEntropy,
    MaskedAgreement,
    Matched,
    MeanEntropy,
    Salient,
    StarConvex,
    Structure,
    Variance,
    VotedPairs,
)
from dipole.views.aligned import Aligned
from tests.train.stand_in import Bag


def told(vectors):
    """What an encoder may say beside its vectors: other vectors, a number, logits, whom an item is linked to, one or two objects."""
    turn = torch.randn(vectors.shape[1], 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    more = (vectors.double() @ turn).sin().to(wide(vectors).dtype)
    linked = torch.zeros(len(vectors), 1, dtype=torch.int64)
    held = torch.stack([torch.ones_like(linked[:, 0]), vectors.detach().double().sum(1) > 0], 1).bool()
    seen = {"map": more.unflatten(1, (3, 3)), "warp": more.detach()[:, :2].sign() / 8}
    hidden = {"masked": more.detach()[:, :3] > -0.9, "predicted": more.view(-1, 3, 1, 3), "points": more.detach().sign().view(-1, 3, 1, 3)}
    seen |= hidden
    seen |= {"objects": torch.stack([wide(vectors).sin(), wide(vectors).roll(2, dims=1).cos()], dim=1), "objects_mask": held}
    return more[:, :5], {"frozen": more, "salient": more[:, 5:8], "attribute": more[:, 8], "neighbours": linked, **seen}


def tokens_of(vectors):
    """Three tokens made of a vector, of which every other item has two."""
    tokens = torch.stack([vectors, vectors.flip(1), vectors.roll(1, dims=1)], dim=1)
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
    mask[:, 2] = vectors.detach().double().sum(1) > 0
    return tokens, mask


def sides_of(queries, keys, labels):
    """Two sides, item by item, with everything a term may read; items of one label are neighbours."""
    sides = {}
    same = (labels[:, None] == labels[None]) & ~torch.eye(len(labels), dtype=torch.bool)
    order = torch.where(same, torch.arange(len(labels)), -1)
    for side, vectors in (("queries", queries), ("keys", keys)):
        logits, meta = told(vectors)
        sides[side] = Encoded(vectors, *tokens_of(vectors), logits=logits, meta={**meta, "label": labels, "neighbours": order})
    return sides


class Telling(Bag):
    """A bag of words that also says what :func:`told` says."""

    def forward(self, inputs):
        out = super().forward(inputs)
        logits, meta = told(out.pooled)
        tokens, mask = tokens_of(out.pooled)
        return replace(out, tokens=tokens, mask=mask, logits=logits, meta=meta)


class Labels(Aligned):
    """Aligned pairs whose items have labels."""

    def __call__(self, rows):
        batch = super().__call__(rows)
        labels = torch.tensor([row["label"] for row in rows])
        return Batch(batch.items, {**batch.meta, "queries.label": labels, "keys.label": labels})


@dataclass(frozen=True)
class Case:
    """A regularizer under the contract: d -> the term for vectors of d dimensions.

    ``exempt``: contract test -> why it does not apply. Named, and only shrinking.
    """

    make: Callable[[int], Any]
    exempt: Mapping[str, str] = field(default_factory=dict)


def later(term):
    """The term as it is some steps on."""
    term.step += 40
    return term


DRAWN = {
    "test_the_order_of_items_does_not_matter": "pseudo-labels are drawn item by item, so an item elsewhere is given another draw",
    "test_the_gradient_is_that_of_finite_differences": "pseudo-labels and votes are constants, so part of the slope is left out",
}
HELD = {"test_the_gradient_is_that_of_finite_differences": "means of communities are constants, so part of the slope is left out"}
FLOWING = {"test_the_order_of_items_does_not_matter": "noise and time are drawn item by item, so an item elsewhere is given another draw"}
ALONE = {"test_a_single_item_is_refused": "a mean over items, each judged alone, is defined for one item"}

REGULARIZERS: dict[str, Case] = {
    "anisotropy": Case(lambda d: Anisotropy()),
    "attribute_alignment": Case(lambda d: AttributeAlignment(width=0.5)),
    "chamfer": Case(lambda d: Chamfer(), ALONE),
    "communities": Case(lambda d: later(Communities(communities=3, dimension=d, nearness=0.1)), HELD),
    "communities, gaussian": Case(
        lambda d: later(Communities(communities=3, dimension=d, nearness=0.1, gaussian=True, temperature=2.0)), HELD
    ),
    "covariance": Case(lambda d: Covariance()),
    "cross_correlation": Case(lambda d: CrossCorrelation(redundancy=0.1)),
    "cross_entropy": Case(lambda d: CrossEntropy(prior=(5, 4, 3, 2, 1), margin=0.2), ALONE),
    "effective_rank": Case(lambda d: EffectiveRank()),
    "effective_rank, raised": Case(lambda d: EffectiveRank(raised=True)),
    "fine_grained": Case(lambda d: FineGrained(temperature=0.5), ALONE),
    "flow_prior": Case(lambda d: FlowPrior(dimension=d, warmup=0, hidden=8), {**ALONE, **FLOWING}),
    "fusion": Case(
        lambda d: Fusion(dimension=d, layers=1, heads=2, temperature=0.5),
        {"test_the_order_of_items_does_not_matter": "negatives are drawn by chance, which falls on places, not on items"},
    ),
    "joint_entropy": Case(lambda d: JointEntropy(width=1.5)),
    "masked_agreement": Case(lambda d: MaskedAgreement(), ALONE),
    "masked_agreement, all parts": Case(lambda d: MaskedAgreement(all_parts=True), ALONE),
    "matched": Case(lambda d: Matched(InfoNCE(temperature=0.5, two_sided=True))),
    "mean_entropy": Case(lambda d: MeanEntropy()),
    "salient": Case(lambda d: Salient(background=0.5)),
    "star_convex": Case(lambda d: StarConvex(noise=0.5), {**ALONE, **FLOWING}),
    "structure": Case(lambda d: Structure(temperature=0.3)),
    "structure, three levels": Case(lambda d: Structure(temperature=0.3, levels=3, decaying=True)),
    "structure, from the middle": Case(lambda d: Structure(temperature=0.3, from_middle=True)),
    "voted_pairs": Case(lambda d: VotedPairs(), DRAWN),
    "variance": Case(lambda d: Variance()),
}
