"""Every regularizer with sides it is defined on: the list its contract tests walk.

A module of ``dipole.regularizers`` that is missing here turns ``test_every_regularizer_is_in_the_catalogue`` red.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dipole.core.encoded import Encoded
from dipole.regularizers import Covariance, CrossCorrelation, Variance
from dipole.views.aligned import Aligned


def pairs_of(queries, keys, labels):
    """Two sides, item by item; the encoder kept no other field."""
    return {"queries": Encoded(queries, meta={"label": labels}), "keys": Encoded(keys, meta={"label": labels})}


@dataclass(frozen=True)
class Case:
    """A regularizer under the contract: how it is made, the sides it reads, the views that give such sides.

    ``exempt``: contract test -> why it does not apply. Named, and only shrinking.
    """

    make: Callable[[], Any]
    sides: Callable[..., Mapping[str, Encoded]] = pairs_of
    views: Callable[[], Any] = Aligned
    exempt: Mapping[str, str] = field(default_factory=dict)


REGULARIZERS: dict[str, Case] = {
    "covariance": Case(Covariance),
    "cross_correlation": Case(lambda: CrossCorrelation(redundancy=0.1)),
    "variance": Case(Variance),
}
