"""The same texts under different labels, and the same pair with scores that lie far apart."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from dipole.audit.check import Block, Cleaning, Once, groups
from dipole.audit.content import key
from dipole.audit.findings import Finding
from dipole.audit.source import Source

_APART = 0.25  # of the range of all scores


class Labels(Once):
    """16 bytes a row, and every different label once."""

    def __init__(self) -> None:
        self.keys, self.at, self.labels = array("q"), array("q"), array("q")
        self.names: dict[str, int] = {}
        self.scores = array("d")

    def see(self, block: Block) -> None:
        for index, item, texts in block:
            if item.label or item.score:
                self.keys.append(key(*(f"{role}\x1e{text}" for role, text in texts)))
                self.at.append(index)
                self.labels.append(self.names.setdefault(item.label, len(self.names)))
                self.scores.append(_number(item.score))

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        names = list(self.names)
        at, labels, scores = np.frombuffer(self.at, np.int64), np.frombuffer(self.labels, np.int64), np.frombuffer(self.scores, np.float64)
        known = scores[np.isfinite(scores)]
        limit = _APART * (known.max() - known.min()) if len(known) else 0.0
        for places in groups(np.frombuffer(self.keys, np.int64)):
            met = sorted({names[number] for number in labels[places].tolist()})
            given = scores[places][np.isfinite(scores[places])]
            if len(met) > 1:
                said = f"the same text with {len(met)} labels: {', '.join(met[:5])}"
            elif len(given) > 1 and given.max() - given.min() > limit > 0:
                said = f"the same pair with scores from {given.min():g} to {given.max():g}"
            else:
                continue
            yield from source.found("label-suspect", at[places].tolist(), said)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
