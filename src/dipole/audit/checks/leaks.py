"""Rows that are also where they will be measured: in another split, or in an evaluation file. Exact and nearly."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from dipole.audit.check import Block, Cleaning, Once, shown
from dipole.audit.content import key, normal
from dipole.audit.findings import Finding
from dipole.audit.near import bands, grams, jaccard, numbers_of, shape_for
from dipole.audit.source import Item, Source

_MOST = 50  # texts of one bucket that are compared


class Held:
    """What a split or an evaluation file asks with, and what it expects; in memory: about 0.5 kB a text.

    It asks with its anchors; where its rows have scores, both texts ask. What is only ever an answer (a passage) may be in training.
    """

    def __init__(self, name: str, source: Source, threshold: float) -> None:
        self.name, self.source, self.shape = name, source, shape_for(threshold)
        self.asked: dict[int, int] = {}  # key of a text -> row index
        self.answers: dict[int, int] = {}
        self._grams: list[Any] = []
        self._numbers: list[str] = []
        self._rows = array("q")
        parts: list[Any] = []
        index = 0
        for block in source.blocks():
            new: list[str] = []
            for item in block:
                for text, asks in _texts(item):
                    if not asks:
                        self.answers.setdefault(key(text), index)
                    elif key(text) not in self.asked:
                        self.asked[key(text)] = index
                        new.append(text)
                        self._rows.append(index)
                index += 1
            if new:
                values, starts = grams([_alone(text) for text in new])
                parts.append(bands(values, starts, self.shape))
                self._grams += [np.unique(values[a:b]) for a, b in pairwise(starts)]
                self._numbers += [numbers_of(_alone(text)) for text in new]
        keys = np.concatenate(parts) if parts else np.empty((0, self.shape[0]), dtype=np.uint32)
        self._order = [np.argsort(key, kind="stable") for key in keys.T]
        self._keys = [keys[order, band] for band, order in enumerate(self._order)]

    def near(self, keys: Any, values: Any, starts: Any, texts: Sequence[str], threshold: float) -> Iterator[tuple[int, int, float]]:
        """(place of a text, row index here, similarity) for each text that is nearly one that is asked with."""
        pairs: set[tuple[int, int]] = set()
        for band in range(self.shape[0]):
            low = np.searchsorted(self._keys[band], keys[:, band])
            high = np.searchsorted(self._keys[band], keys[:, band], side="right")
            for place in np.flatnonzero(high > low).tolist():
                pairs.update(
                    (place, int(self._order[band][at])) for at in range(int(low[place]), min(int(high[place]), int(low[place]) + _MOST))
                )
        best: dict[int, tuple[float, int]] = {}
        for place, here in sorted(pairs):
            if numbers_of(_alone(texts[place])) == self._numbers[here]:
                index = jaccard(np.unique(values[starts[place] : starts[place + 1]]), self._grams[here])
                if index >= threshold and index > best.get(place, (0.0, 0))[0]:
                    best[place] = (index, here)
        for place, (index, here) in best.items():
            yield place, self._rows[here], index


class Leaks(Once):
    """A row leaks where one of its texts is, or nearly is, one that a held set asks with, or where its anchor is an answer there."""

    def __init__(self, held: Sequence[Held], threshold: float) -> None:
        self.held, self.threshold = held, threshold
        self.rows: list[tuple[int, str]] = []

    def see(self, block: Block) -> None:
        self._see((index, [(role, text) for role, text in texts if role != "negative"]) for index, _, texts in block)

    def _see(self, rows: Iterable[tuple[int, list[tuple[str, str]]]]) -> None:
        flat = [(index, role, text) for index, texts in rows for role, text in texts]
        if not flat:
            return
        texts = [text for _, _, text in flat]
        values, starts = grams([_alone(text) for text in texts])
        banded = bands(values, starts, shape_for(self.threshold))
        told: dict[tuple[int, int], str] = {}
        for number, held in enumerate(self.held):
            for index, role, text in flat:
                own = key(text)
                where = held.asked.get(own)
                if where is None and role == "anchor":
                    where = held.answers.get(own)
                if where is not None:
                    told.setdefault((index, number), f"the {role} is in {held.name}, {held.source.named(where)}: {shown(text)}")
            for place, where, similarity in held.near(banded, values, starts, texts, self.threshold):
                index, role, text = flat[place]
                said = f"the {role} is nearly in {held.name}, {held.source.named(where)} (Jaccard {similarity:.2f}): {shown(text)}"
                told.setdefault((index, number), said)
        self.rows += [(index, said) for (index, _), said in sorted(told.items())]

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        for index, said in self.rows:
            cleaning.drop("leak", index, said)
            yield from source.found("leak", [index], said)


def between(held: Sequence[Held], threshold: float) -> Iterator[Finding]:
    """Leaks among the held sets themselves; the row numbers are those of the one the message names first."""
    for number, first in enumerate(held):
        check = Leaks(held[number + 1 :], threshold)
        index = 0
        for block in first.source.blocks():
            rows = [[("anchor" if asks else "positive", text) for text, asks in _texts(item)] for item in block]
            check._see((index + place, texts) for place, texts in enumerate(rows))
            index += len(block)
        for finding in check.findings(first.source, Cleaning()):
            yield replace(finding, file=first.name)


def _texts(item: Item) -> Iterator[tuple[str, bool]]:
    """The texts of a held row as they are compared, and whether it asks with them."""
    if not item.problem:
        for role in ("anchor", "positive"):
            for text in item.of(role):
                yield normal(text), role == "anchor" or bool(item.score)


def _alone(text: str) -> tuple[tuple[str, str], ...]:
    return (("anchor", text),)
