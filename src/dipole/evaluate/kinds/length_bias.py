"""Length bias: is the cosine of two sentences further from what people said where their lengths differ?

The diagnostic of ESimCSE (arXiv:2109.04380): pairs are grouped by how much their lengths differ, and |cosine - gold score| is
averaged in each group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dipole.core.errors import DataError
from dipole.core.part import at_least, part
from dipole.evaluate.bootstrap import Floats, sums_by, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.result import Result
from dipole.evaluate.scored_pairs import FILES, ScoredPairs, read_scored_pairs
from dipole.evaluate.vectors import Encode, Sides, cosines_of_pairs

__all__ = ["LengthBias"]


@part
class LengthBias:
    """Length: is the cosine further from the gold score where two sentences differ in length?"""

    groups: int = at_least(2, 4, "equal shares of the pairs, by difference of length")

    files: ClassVar[str] = FILES
    unit: ClassVar[str] = "pairs"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "bias"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32; gold scores scaled so that the file's smallest is 0 and its largest 1",
        "length": "words divided by blanks; the difference is |n - m| / max(n, m)",
        "groups": "quantiles of the difference; pairs of equal difference stay together, so groups may differ in size, or fall together",
        "undefined": "gold scores or differences that are all equal raise an error",
        "interval": "95% percentile bootstrap over pairs, the groups held fixed",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "bias": "mean |cosine - gold| of the pairs that differ most in length minus that of the pairs that differ least",
            "signed_bias": "mean (cosine - gold) of the pairs that differ most in length minus that of the pairs that differ least",
            **{
                f"error@{g}": f"mean |cosine - gold| of the pairs in group {g} of {self.groups} by difference of length"
                for g in self._numbers()
            },
        }

    def read(self, place: str, name: str = "") -> ScoredPairs:
        return read_scored_pairs(place, name)

    def __call__(
        self, task: ScoredPairs, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where all gold scores, or all differences of length, are equal."""
        gold = np.asarray(task.scores, dtype=np.float64)
        lengths = np.array([[len(str(one).split()) for one in side] for side in (task.first, task.second)], dtype=np.float64)
        apart = np.abs(lengths[0] - lengths[1]) / np.maximum(lengths.max(axis=0), 1)
        for what, values in (("gold scores", gold), ("differences of length", apart)):
            if np.ptp(values) == 0:
                raise DataError(f"task {task.name}: the {what} are all equal, so there is nothing to compare", value=float(values[0]))
        sides = Sides(encode, encode_keys)
        first, second = sides.both(task.first, task.second, "sentences")
        every = range(len(gold))
        cosine = cosines_of_pairs(first, second, every, every).double().numpy()
        over = cosine - (gold - gold.min()) / np.ptp(gold)
        edges = np.unique(np.quantile(apart, np.linspace(0, 1, self.groups + 1)[1:-1]))
        group = np.searchsorted(edges, apart, side="left")
        group = np.unique(group, return_inverse=True)[1]  # numbered without gaps
        found_groups = int(group.max()) + 1

        def figures(weights: Floats) -> dict[str, Floats]:
            sizes = sums_by(weights, group, found_groups)
            with np.errstate(invalid="ignore", divide="ignore"):
                errors = sums_by(weights * np.abs(over), group, found_groups) / sizes
                signed = sums_by(weights * over, group, found_groups) / sizes
            found = {"bias": errors[:, -1] - errors[:, 0], "signed_bias": signed[:, -1] - signed[:, 0]}
            return found | {f"error@{g + 1}": errors[:, g] for g in range(found_groups)}

        metrics = {name: float(values[0]) for name, values in figures(np.ones((1, len(gold)))).items()}
        columns: dict[str, Any] = {"sentence1": list(map(str, task.first)), "sentence2": list(map(str, task.second))}
        columns |= {"score": gold, "cosine": cosine, "length_difference": apart, "group": (group + 1).tolist()}
        counts = {"pairs": len(gold)} | {f"pairs_in_group_{g + 1}": int((group == g).sum()) for g in range(found_groups)}
        return result(self, task.name, sides, metrics, weighted_intervals(len(gold), figures, seed, samples), columns, counts, seed)

    def _numbers(self) -> range:
        return range(1, self.groups + 1)
