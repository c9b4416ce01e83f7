"""Rows that are nearly equal: see :mod:`dipole.audit.near` for how, and with what error."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from dipole.audit.check import Block, Cleaning
from dipole.audit.content import key
from dipole.audit.findings import Finding
from dipole.audit.near import bands, candidates, grams, jaccard, numbers_of, shape_for
from dipole.audit.source import Source
from dipole.core.unions import root


class NearRows:
    """Rows with a Jaccard index of at least ``threshold``, whose numbers, label and score are equal, and whose anchor and positives
    are not all the same (then only the negatives differ, on purpose).

    Memory: about 120 bytes a row; the 5-grams of candidates lie in a temporary file.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold, self.shape = threshold, shape_for(threshold)
        self.at, self.alike, self.pair, self.whole = (array("q") for _ in range(4))
        self.bands: list[Any] = []
        self.pairs: Any = None
        self.capped = False
        self._grams: Any = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the check)
        self._wanted: set[int] = set()  # the rows of candidate pairs
        self._where: dict[int, tuple[int, int]] = {}  # row index -> offset and length, in grams

    def see(self, block: Block) -> None:
        if not block:
            return
        for index, item, texts in block:
            self.at.append(index)
            self.alike.append(key(numbers_of(texts), item.label, item.score))
            self.pair.append(key(*(f"{role}\x1e{text}" for role, text in texts if role != "negative")))
            self.whole.append(key(*(f"{role}\x1e{text}" for role, text in texts)))
        self.bands.append(bands(*grams([texts for _, _, texts in block]), self.shape))

    def wants(self) -> Collection[int]:
        at = np.frombuffer(self.at, dtype=np.int64)
        alike, pair, whole = (np.frombuffer(a, dtype=np.int64) for a in (self.alike, self.pair, self.whole))
        keys = np.concatenate(self.bands) if self.bands else np.empty((0, self.shape[0]), dtype=np.uint32)
        self.bands = []
        _, first = np.unique(np.stack([whole, alike], 1), axis=0, return_index=True)  # exact copies are another finding
        kept = np.sort(first)
        places, self.capped = candidates(keys[kept], alike[kept])
        places = kept[places]
        places = places[pair[places[:, 0]] != pair[places[:, 1]]]
        self.pairs = at[places]
        self._wanted = set(np.unique(self.pairs).tolist())
        return self._wanted

    def see_again(self, block: Block) -> None:
        chosen = [(index, texts) for index, _, texts in block if index in self._wanted]
        if not chosen:
            return
        values, starts = grams([texts for _, texts in chosen])
        for (index, _), start, stop in zip(chosen, starts[:-1], starts[1:], strict=True):
            own = np.unique(values[start:stop])
            self._where[index] = (self._grams.tell() // 4, len(own))
            self._grams.write(own.tobytes())

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        near: dict[int, list[tuple[int, float]]] = {}  # row -> earlier rows it is near to
        for first, second in self.pairs.tolist():
            index = jaccard(self._read(first), self._read(second))
            if index >= self.threshold:
                near.setdefault(second, []).append((first, index))
        for group in _connected({row: [first for first, _ in found] for row, found in near.items()}):
            lowest = min(index for row in group for _, index in near.get(row, []))
            first = source.named(group[0])
            said = f"nearly the same as {first}" if len(group) == 2 else f"nearly the same as each other, {first} first"
            yield from source.found("near-duplicate", group, f"{said} (Jaccard {lowest:.2f} or more over 5-grams)")
        gone: set[int] = set()
        for row in sorted(near):
            kept = [(first, index) for first, index in sorted(near[row]) if first not in gone]
            if kept:
                gone.add(row)
                first, index = kept[0]
                cleaning.drop("near-duplicate", row, f"nearly the same as {source.named(first)} (Jaccard {index:.2f})", first)

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        """Delete the temporary file."""
        self._grams.close()

    def _read(self, row: int) -> Any:
        offset, length = self._where[row]
        self._grams.seek(offset * 4)
        return np.frombuffer(self._grams.read(length * 4), dtype=np.uint32)


def _connected(near: dict[int, list[int]]) -> list[list[int]]:
    """Groups of rows that hang together, each ascending, in the order of their first row."""
    parent = {row: row for first, others in near.items() if others for row in (first, *others)}
    for row, others in near.items():
        for other in others:
            a, b = root(parent, row), root(parent, other)
            parent[max(a, b)] = min(a, b)
    found: dict[int, list[int]] = {}
    for row in sorted(parent):
        found.setdefault(root(parent, row), []).append(row)
    return sorted(found.values())
