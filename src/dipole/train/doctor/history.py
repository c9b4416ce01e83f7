"""What the doctor remembers of a run's log: its beginning and its last steps, however long the run is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

Record = Mapping[str, float]
USUAL = 50  # steps a gradient norm is compared with
LATEST = 20  # readings


class History:
    """``early``: the first 10 records; ``steps``: the last 51; ``first_readings`` and ``readings``: records of steps that were read."""

    def __init__(self) -> None:
        self.early: list[Record] = []
        self.steps: deque[Record] = deque(maxlen=USUAL + 1)
        self.first_readings: list[Record] = []
        self.readings: deque[Record] = deque(maxlen=LATEST)
        self.least_norm = 0.0  # of the steps up to the last reading

    def add(self, record: Record) -> None:
        """The record of the step that is over."""
        if len(self.early) < 10:
            self.early.append(record)
        self.steps.append(record)
        if "effective_rank" in record:
            self.readings.append(record)
            self.least_norm = min(r["grad_norm"] for r in self.steps)
            if len(self.first_readings) < 4:
                self.first_readings.append(record)

    def last(self, steps: int) -> list[Record]:
        """The last records; fewer where the run is younger."""
        return list(self.steps)[-steps:]

    def last_readings(self, count: int) -> list[Record]:
        """The last records that were read; fewer where there are fewer."""
        return list(self.readings)[-count:]
