"""Word similarity: does the cosine of two words follow the similarity people gave them?

The same measure as for sentences; the files are older and have blanks or tabs and no header.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from dipole.core.errors import DataError, UsageError
from dipole.core.part import part
from dipole.evaluate.correlation import correlations
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.result import Result
from dipole.evaluate.scored_pairs import ScoredPairs
from dipole.evaluate.table import finite
from dipole.evaluate.vectors import Encode, Sides, cosines_of_pairs
from dipole.rows.read import lines

__all__ = ["WordSimilarity"]


@part
class WordSimilarity:
    """Words: does the cosine of two words follow the similarity people gave them?"""

    files: ClassVar[str] = (
        "FILE of lines 'word word score', divided by tabs, commas (.csv) or blanks; a first line without a score is a header"
    )
    unit: ClassVar[str] = "pairs"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "spearman"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32, of the words encoded as they are, without a context",
        "ties": "average ranks",
        "unknown": "an encoder of texts has a vector for every word, so no pair is left out",
        "undefined": "cosines or gold scores that are all equal raise an error",
        "interval": "95% percentile bootstrap over pairs",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "spearman": "rank correlation of cosine and gold score over all pairs of words, ties with average ranks",
            "pearson": "linear correlation of cosine and gold score over all pairs of words",
        }

    def read(self, place: str, name: str = "") -> ScoredPairs:
        path = Path(place).expanduser()
        if not path.is_file():
            raise UsageError(f"{path}: no such file; give lines of word, word, score")
        first, second, scores = [], [], []
        for line, text in lines(path):
            fields = [f.strip() for f in text.split("\t" if "\t" in text else "," if path.suffix.lower() == ".csv" else None)]
            if not text.strip():
                continue
            score = finite(fields[2]) if len(fields) >= 3 else None
            if score is None and line == 1 and len(fields) >= 3:
                continue
            if score is None or not fields[0] or not fields[1]:
                raise DataError("a line must be two words and a finite number", path=path, line=line, value=text)
            first.append(fields[0])
            second.append(fields[1])
            scores.append(score)
        if len(scores) < 3:
            raise DataError("a correlation needs at least 3 rows", path=path, value=len(scores))
        return ScoredPairs(name or place, first, second, scores)

    def __call__(
        self, task: ScoredPairs, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError for NaN vectors and for scores or cosines that are all equal."""
        sides = Sides(encode, encode_keys)
        first, second = sides.both(task.first, task.second, "words")
        every = range(len(task.scores))
        cosine = cosines_of_pairs(first, second, every, every).double().numpy()
        gold = np.asarray(task.scores, dtype=np.float64)
        metrics, intervals = correlations(task.name, cosine, gold, seed, samples)
        columns = {"word1": list(task.first), "word2": list(task.second), "score": gold, "cosine": cosine}
        counts = {"pairs": len(gold), "words": len({*task.first, *task.second})}
        return result(self, task.name, sides, metrics, intervals, columns, counts, seed)
