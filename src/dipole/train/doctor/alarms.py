"""The alarms there are, by the names that ``--stop-on`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dipole.core.errors import UnknownNameError

ALARMS: Mapping[str, str] = {
    "nan": "a loss or gradient is not finite; a run always stops there",
    "collapse": "all vectors point the same way",
    "rank": "vectors use hardly any of their dimensions, or ever fewer",
    "log-n": "the loss sits where guessing would put it",
    "saturation": "gradients have vanished, or the softmax puts everything on one wrong candidate",
    "temperature": "the learned temperature is at its bound or leaves the healthy range",
    "spike": "the gradient norm leaps",
    "dead-negatives": "the given hard negatives hardly send any gradient",
    "false-negatives": "negatives are positives: by content, or by their scores",
    "frozen": "learned parts get no gradient or do not move",
    "no-positive": "most rows of a batch have no positive",
    "duplicates": "a batch holds copies of rows",
}


@dataclass(frozen=True)
class Alarm:
    """``text``: one line with the number and a remedy."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def known(names: Iterable[str]) -> frozenset[str]:
    """The names, checked. Raises UnknownNameError with the nearest ones."""
    chosen = frozenset(names)
    for name in sorted(chosen):
        if name not in ALARMS:
            raise UnknownNameError("alarm", name, ALARMS, "--stop-on")
    return chosen
