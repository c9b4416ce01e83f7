"""Words and the words around them: every word of a text with each of its neighbours, for vectors of words.

Source: the windows of word2vec, arXiv:1301.3781: at each place a width from 1 to ``window`` is drawn, as there.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dipole.core.errors import DataError, UsageError
from dipole.core.part import at_least, part, words
from dipole.core.protocols import Row

__all__ = ["Windows"]

_WORD = re.compile(r"\w+")


@part
class Windows:
    """Rows ``anchor`` (a word) and ``positive`` (a neighbour), in the order of the text; windows end at the ends of lines."""

    path: str = words(about="a UTF-8 text file")
    window: int = at_least(1, 5, "the widest window, words to each side")
    least_count: int = at_least(1, 5, "rarer words are left out")
    seed: int = at_least(0, 0, "decides the widths")

    def __post_init__(self) -> None:
        try:
            lines = Path(self.path).read_text(encoding="utf-8").lower().splitlines()
        except OSError:
            raise UsageError(f"{self.path}: there is no such file") from None
        except UnicodeDecodeError as error:
            raise DataError("is not UTF-8 text", path=self.path, value=error.start, remedy="save it as UTF-8") from None
        counts = Counter(word for line in lines for word in _WORD.findall(line))
        chance, pairs = random.Random(self.seed), []
        for line in lines:
            kept = [word for word in _WORD.findall(line) if counts[word] >= self.least_count]
            for place, word in enumerate(kept):
                width = chance.randint(1, self.window)
                pairs += [(word, kept[at]) for at in range(max(0, place - width), min(len(kept), place + width + 1)) if at != place]
        if not pairs:
            raise DataError(f"text.windows: no two neighbouring words occur {self.least_count} times each", path=self.path)
        digest = hashlib.sha256(repr(pairs).encode()).hexdigest()
        vars(self).update(_pairs=pairs, _fingerprint=digest)

    def __len__(self) -> int:
        return len(vars(self)["_pairs"])

    def __getitem__(self, index: int) -> Row:
        word, neighbour = vars(self)["_pairs"][index]
        return {"anchor": word, "positive": neighbour}

    def __iter__(self) -> Iterator[Row]:
        return ({"anchor": word, "positive": neighbour} for word, neighbour in vars(self)["_pairs"])

    @property
    def fingerprint(self) -> str:
        """sha256 of the pairs."""
        found: str = vars(self)["_fingerprint"]
        return found
