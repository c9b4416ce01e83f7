"""``Doctor``: reads a run every few steps and raises alarms, each at most once in a hundred steps.

It looks at tensors only where the loop has waited for the device anyway (the gradient norm), draws no random numbers and
changes nothing, so a run is the same with it and without. It counts its own time: where a step is so short that readings would take
more than their share of it, they become rarer.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.pairs import Pairs
from dipole.train.cache import Done
from dipole.train.doctor import readings, rules
from dipole.train.doctor.alarms import Alarm, known
from dipole.train.doctor.history import History, Record
from dipole.train.doctor.pace import Pace
from dipole.train.doctor.weights import Weights
from dipole.train.objective import Objective
from dipole.train.rng import RandomState
from dipole.train.step import Step

_QUIET = 100  # steps before an alarm is raised again


class Doctor:
    """``every``: steps between readings, the first step is read; every second reading looks at pairs and weights too; 0: no reading.
    ``stop_on``: alarms that end the run. ``share``: of the steps' time the doctor's own may be at most, by ``clock``, in seconds: the
    first five readings are taken in any case, later ones where they fit, and at least one in 50 ``every`` steps. What is in every
    record (loss, gradient norm, temperatures) is judged every ``every`` steps whether read or not.

    Raises UnknownNameError for an alarm there is not.
    """

    def __init__(
        self, every: int = 10, stop_on: Iterable[str] = (), share: float = 0.02, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.stop_on = known(stop_on)
        self.pace = Pace(every, share, clock)
        self.history = History()
        self.run = rules.Run()
        self.weights = Weights([])
        self.raised: dict[str, int] = {}  # alarm -> the step it was last raised
        self.why: Alarm | None = None  # the alarm that ends the run
        self._reads = self._thorough = False  # this step
        self._of_pairs: dict[str, float] = {}
        self._classes = 0  # labels of a batch; 0: there are none
        self._rate = 0.0  # the highest since the last reading

    def begin(
        self, step: Step, steps: int, learned: Iterable[tuple[str, nn.Parameter]], objective: Objective, done: int, earlier: list[Any]
    ) -> None:
        """Before the first step. ``done``, ``earlier``: steps and records of a run that is resumed."""
        self.pace.begin(done)
        bounds = {}
        for name, part in objective.named_parts():
            if isinstance(getattr(part, "min_temperature", None), float):
                bounds["temperature" if name == "score" else f"{name}.temperature"] = float(part.min_temperature)
        over_pairs = [i for i, loss in enumerate(objective.losses) if not hasattr(loss, "over_encoded")]
        alone = len(objective.losses) == 1
        softmax = (
            ("loss", 1.0) if alone else (f"losses.{over_pairs[0]}", objective.weights[over_pairs[0]]) if len(over_pairs) == 1 else None
        )
        self.run = rules.Run(int(step.warmup * steps), bounds, softmax)
        self.weights = Weights(list(learned))
        for record in earlier:
            self.history.add(record)
            self.raised |= {said.partition(":")[0]: record["step"] for said in record.get("alarms", ())}

    def before(self, step: int, objective: Objective) -> RandomState:
        """Before ``step`` (from 1) draws or encodes anything: decide whether it is read and its pairs are looked at.

        Gives the random state, from which a step that is not finite is run again.
        """
        self.pace.step_begins()
        with self.pace.counted():
            self._reads = self.pace.take(step)
            self._thorough = self._reads and self.pace.taken % 2 == 1
            self._of_pairs = {}
            objective.watched_by = functools.partial(self._see, objective) if self._thorough else None
            return RandomState.now()

    def read(self, rate: float, meta: Mapping[str, torch.Tensor], done: Done) -> dict[str, float]:
        """After backward, before the optimizer moves: the numbers of this step, none where it is not read."""
        found: dict[str, float] = {}
        if self._reads:
            with self.pace.counted():
                found = self._readings(meta, done)
        self._rate = max(self._rate, rate)
        self.pace.step_ends()
        return found

    def _readings(self, meta: Mapping[str, torch.Tensor], done: Done) -> dict[str, float]:
        queries = next(iter(done.sides.values())).pooled
        sample = queries[: readings.VECTORS]
        found = readings.of_vectors(sample) | readings.of_gradients(done.gradients) | self._of_pairs | readings.of_ids(meta)
        self._classes = int(found.get("classes", self._classes))
        if self._thorough:
            self.weights.read(self._rate > 0)
            self._rate = 0.0
        return {**found, "rank_limit": min(*sample.shape, self._classes or len(sample))}

    def judge(self, record: Record) -> list[Alarm]:
        """What the run's records up to this one say is wrong; mostly nothing."""
        if not self.pace.every:
            return []
        with self.pace.counted():
            self.history.add(record)
            step = int(record["step"])
            found = list(rules.every_step(self.history))
            if self.pace.on_grid(step):
                found += rules.every_few(self.history, self.run)
            if "effective_rank" in record:
                found += [*rules.on_reading(self.history), *(rules.frozen(self.weights) if self._thorough else ())]
            first = {alarm.name: alarm for alarm in reversed(found)}
            new = [a for a in reversed(first.values()) if step - self.raised.get(a.name, -_QUIET) >= _QUIET]
            self.raised |= dict.fromkeys(first, step)
            self.why = self.why or next((a for a in new if a.name in self.stop_on), None)
            return new

    @property
    def stops(self) -> bool:
        """Whether an alarm was raised that ends the run."""
        return self.why is not None

    def not_finite(self, loss: float, norm: float, where: str) -> Alarm:
        """The alarm for a step whose loss or gradient norm is not finite. ``where``: the first bad tensor."""
        said = f"loss {loss}, gradient norm {norm}"
        if where:
            return Alarm("nan", f"{said}; the first bad tensor is {where}; lower learning_rate, raise the temperature, or look at the data")
        return Alarm("nan", f"{said}; running the step again gave finite numbers; lower learning_rate, or precision = '32-true'")

    def _see(self, objective: Objective, pairs: Pairs, sides: Mapping[str, Encoded], meta: Mapping[str, torch.Tensor]) -> None:
        """The pairs of a step that is read, within the loss's forward."""
        if pairs.device.type == "cuda":
            torch.cuda.synchronize(pairs.device)  # what the forward left to do is not the doctor's time
        with self.pace.counted():
            self._of_pairs = self._readings_of_pairs(objective, pairs, sides, meta)

    def _readings_of_pairs(
        self, objective: Objective, pairs: Pairs, sides: Mapping[str, Encoded], meta: Mapping[str, torch.Tensor]
    ) -> dict[str, float]:
        owner = None
        if "negatives" in sides and "negatives.owner" in meta:
            keys, given = len(sides["keys"]), meta["negatives.owner"]
            owner = torch.full((pairs.shape[1],), -1, dtype=torch.int64, device=pairs.device)
            owner[keys : keys + len(given)] = given  # keys come first, then mined negatives, then what else there is
        loss = next(loss for loss in objective.losses if not hasattr(loss, "over_encoded"))
        temperature = getattr(loss, "temperature", None)
        found = readings.of_pairs(pairs, owner, temperature if isinstance(temperature, float) else None)
        classes = readings.classes_of(pairs)
        return found | ({"classes": classes} if classes else {})
