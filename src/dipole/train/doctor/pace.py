"""How often the doctor looks: as often as asked for while its own time stays a small share of the training's, else more seldom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST = 5  # readings that are taken whatever they cost: most illnesses show in a run's first steps
SELDOM = 50  # times ``every``: the most steps between two readings


class Pace:
    """``every`` steps a reading may be taken, 0: none is; it is where with it ``spent`` stays at most ``share`` of the rest of
    ``elapsed``, both in seconds of ``clock``. Times are agreed on by all processes, so that all take the same readings."""

    def __init__(self, every: int, share: float, clock: Callable[[], float]) -> None:
        self.every, self.share, self.clock = every, share, clock
        self.spent = self.elapsed = 0.0  # by the doctor of this process; by its steps, the doctor's part included
        self.taken = 0  # readings, those before a run was resumed among them
        self._agreed = (0.0, 0.0)  # both, summed over processes
        self._before = self._last = 0  # readings and steps when this process began
        self._start = 0.0

    def begin(self, done: int) -> None:
        """Before the first step of a run of which ``done`` steps were taken earlier."""
        self.taken = self._before = -(-done // self.every) if self.every else 0
        self._last = done

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is done inside as the doctor's own time."""
        start = self.clock()
        try:
            yield
        finally:
            self.spent += self.clock() - start

    def step_begins(self) -> None:
        """The time of a step runs from here to :meth:`step_ends`."""
        self._start = self.clock()

    def step_ends(self) -> None:
        """Add the time since :meth:`step_begins`."""
        self.elapsed += self.clock() - self._start

    def agree(self, spent: float, elapsed: float) -> None:
        """Both times, summed over processes: what decides on the next reading."""
        self._agreed = spent, elapsed

    def on_grid(self, step: int) -> bool:
        """Whether ``step``, from 1, is one of every ``every``."""
        return self.every > 0 and (step - 1) % self.every == 0

    def take(self, step: int) -> bool:
        """Whether this step is read; counts it if so."""
        if not self.on_grid(step):
            return False
        spent, elapsed = self._agreed
        here = self.taken - self._before
        usual = spent / here if here else 0.0
        affordable = spent + usual <= self.share * (elapsed - spent)
        if not (affordable or self.taken < FIRST or step - self._last >= SELDOM * self.every):
            return False
        self.taken, self._last = self.taken + 1, step
        return True
