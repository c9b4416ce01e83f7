"""Replaced: some pairs get the text of another row, one that is least like their own, and are then no pair any more.

    floor(share B + u) of the B rows, u ~ U(0, 1): the key becomes one of the ``farthest`` keys of the batch that share fewest words with it

Shapes: ``queries`` and ``keys`` of B rows; a replaced row has no positive, and its own text, where other rows have it, is no
negative. Source: nearest-neighbour negatives of C-MELT, arXiv:2410.02131, which looks for them among all texts with a text encoder
and takes 64; here words are compared (cosine of their counts), within the batch. Relation: ``ets`` and ``siglip``
judge pairs one by one, so a row without a positive still counts there. Far texts are safe: one by chance may say the same.
Errors: DataError for keys that are no texts, and where all texts of a batch are equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part
from dipole.core.protocols import Batch, Row
from dipole.core.relations import Match
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.aligned import plain_pairs
from dipole.views.ids import content_ids

__all__ = ["Replaced"]


@part
class Replaced:
    """Row i's anchor belongs to row i's positive, unless that was replaced."""

    share: float = between(0.0, 1.0, 0.5, "of the rows whose text is replaced")
    farthest: int = at_least(1, 64, "how many of the least similar texts one is drawn from")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Sides ``queries`` and ``keys``, with ``queries.kept`` and the ids of what rows had and have."""
        batch = plain_pairs(rows)
        texts = list(batch.items["keys"])
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"replaced: the positive of row {place} of the batch must be a text", value=text)
        count = int(self.share * len(texts) + float(torch.rand(())))
        chosen = torch.randperm(len(texts))[:count].tolist()
        keys = list(texts)
        for place, other in zip(chosen, far(texts, chosen, self.farthest), strict=True):
            keys[place] = texts[other]
        kept = torch.ones(len(texts), dtype=torch.int64)
        kept[chosen] = 0
        ids = {"queries.id": batch.meta["queries.id"], "queries.own": batch.meta["keys.id"], "keys.id": content_ids(keys)}
        return Batch({"queries": batch.items["queries"], "keys": keys}, {**ids, "queries.kept": kept})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        kept = meta["queries.kept"].nonzero().flatten()
        pairs = Pairs.weighted(sides["queries"], sides["keys"], kept, kept, torch.ones(len(kept), device=kept.device), score=score)
        pair = meta["queries.id"].where(meta["queries.kept"] > 0, -1)  # whose key is still its own
        return replace(pairs, duplicates=(Match(meta["queries.id"], pair), Match(meta["queries.own"], meta["keys.id"])))


def far(texts: Sequence[str], chosen: Sequence[int], count: int) -> list[int]:
    """For each of the ``chosen`` places, the place of a text that is one of the ``count`` least like it, by chance; texts that differ.

    Likeness is the cosine of word counts, and chance decides between texts that are alike equally little.
    """
    different = list(dict.fromkeys(texts))
    if chosen and len(different) < 2:
        raise DataError("replaced: all texts of the batch are equal, so none can stand for another", value=texts[0])
    words = {word: place for place, word in enumerate(dict.fromkeys(word for text in different for word in text.lower().split()))}
    counts = torch.zeros(len(different), max(len(words), 1))
    for row, text in enumerate(different):
        for word, often in Counter(text.lower().split()).items():
            counts[row, words[word]] = often
    unit = torch.nn.functional.normalize(counts, dim=1)
    found = []
    for place in chosen:
        own = different.index(texts[place])
        order = torch.randperm(len(different))
        order = order[order != own]
        order = order[(unit[order] @ unit[own]).sort(stable=True).indices]
        found.append(texts.index(different[int(order[int(torch.randint(min(count, len(order)), ()))])]))
    return found
