"""Every regularizer with sides it is defined on: the list its contract tests walk.

A module of ``dipole.regularizers`` that is missing here turns ``test_every_regularizer_is_in_the_catalogue`` red.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dipole.core.encoded import Encoded
from dipole.core.vectors import wide
from dipole.regularizers import Anisotropy, Covariance, CrossCorrelation, EffectiveRank, Structure, Variance
from dipole.views.aligned import Aligned
from tests.train.stand_in import Bag


def pairs_of(queries, keys, labels):
    """Two sides, item by item; the encoder kept no other field."""
    return {"queries": Encoded(queries, meta={"label": labels}), "keys": Encoded(keys, meta={"label": labels})}


def with_frozen(queries, keys, labels):
    """The same, and what a frozen encoder said of each item."""
    gen = torch.Generator().manual_seed(5)
    sides = pairs_of(queries, keys, labels)
    frozen = torch.randn(queries.shape[1], 9, generator=gen, dtype=torch.float64)
    told = {s: (e.pooled.double() @ frozen).sin().to(wide(e.pooled).dtype) for s, e in sides.items()}
    return {s: replace(e, meta={**e.meta, "frozen": told[s]}) for s, e in sides.items()}


class FrozenBeside(Bag):
    """A bag of words that also hands on a frozen vector of each item: its histogram of words, turned."""

    def forward(self, inputs):
        counts = torch.zeros(len(inputs["ids"]), 64, dtype=self.scale.dtype).scatter_add_(
            1, inputs["ids"], inputs["ids"].to(self.scale.dtype)
        )
        turned = counts @ torch.randn(64, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(counts.dtype)
        return replace(super().forward(inputs), meta={"frozen": turned.sin()})


@dataclass(frozen=True)
class Case:
    """A regularizer under the contract: how it is made, the sides it reads, the views and the encoder that give such sides.

    ``exempt``: contract test -> why it does not apply. Named, and only shrinking.
    """

    make: Callable[[], Any]
    sides: Callable[..., Mapping[str, Encoded]] = pairs_of
    views: Callable[[], Any] = Aligned
    encoder: type[Bag] = Bag
    exempt: Mapping[str, str] = field(default_factory=dict)


REGULARIZERS: dict[str, Case] = {
    "anisotropy": Case(Anisotropy),
    "covariance": Case(Covariance),
    "cross_correlation": Case(lambda: CrossCorrelation(redundancy=0.1)),
    "effective_rank": Case(EffectiveRank),
    "effective_rank, raised": Case(lambda: EffectiveRank(raised=True)),
    "structure": Case(lambda: Structure(temperature=0.3), with_frozen, encoder=FrozenBeside),
    "structure, three levels": Case(lambda: Structure(temperature=0.3, levels=3, decaying=True), with_frozen, encoder=FrozenBeside),
    "structure, from the middle": Case(lambda: Structure(temperature=0.3, from_middle=True), with_frozen, encoder=FrozenBeside),
    "variance": Case(Variance),
}
