"""STS: does the cosine of two sentences follow the similarity people gave them?

A correlation does not change with the scale of the scores, so 0-5 and 0-1 files need no conversion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dipole.core.part import part
from dipole.evaluate.correlation import correlations
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.result import Result
from dipole.evaluate.scored_pairs import FILES, ScoredPairs, read_scored_pairs
from dipole.evaluate.vectors import Encode, Sides, cosines_of_pairs

__all__ = ["STS"]


@part
class STS:
    """Semantic similarity: does the cosine of two sentences follow the similarity people gave them?"""

    files: ClassVar[str] = FILES
    unit: ClassVar[str] = "pairs"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "spearman"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32",
        "ties": "average ranks",
        "pairs": "all pairs of the file, or of all files of a folder, in one correlation",
        "undefined": "cosines or gold scores that are all equal raise an error",
        "interval": "95% percentile bootstrap over pairs",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "spearman": "rank correlation of cosine and gold score over all pairs, ties with average ranks",
            "pearson": "linear correlation of cosine and gold score over all pairs",
        }

    def read(self, place: str, name: str = "") -> ScoredPairs:
        return read_scored_pairs(place, name)

    def __call__(
        self, task: ScoredPairs, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError for NaN vectors and for scores or cosines that are all equal."""
        sides = Sides(encode, encode_keys)
        first, second = sides.both(task.first, task.second, "sentences")
        every = range(len(task.scores))
        cosine = cosines_of_pairs(first, second, every, every).double().numpy()
        gold = np.asarray(task.scores, dtype=np.float64)
        metrics, intervals = correlations(task.name, cosine, gold, seed, samples)
        columns = {"sentence1": list(map(str, task.first)), "sentence2": list(map(str, task.second)), "score": gold, "cosine": cosine}
        return result(self, task.name, sides, metrics, intervals, columns, {"pairs": len(gold)}, seed)
