"""The doctor's own time stays a small share of the steps', by a clock that tests turn by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from dipole.core.scores import Score
from dipole.losses import InfoNCE
from dipole.pairwise.scores.cosine import Cosine
from dipole.train.doctor import readings
from dipole.train.doctor.pace import FIRST, SELDOM, Pace
from dipole.train.doctor.watch import Doctor
from dipole.train.log import read
from dipole.train.recipe import Recipe
from dipole.train.run import train
from dipole.train.step import Step
from dipole.views.aligned import Aligned
from tests.processes import on_ranks
from tests.train.stand_in import Bag, Sentences


class Clock:
    """Seconds that pass only where a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def walk(pace: Pace, steps: int, step: float, reading: float, begin: int = 0) -> list[int]:
    """The steps that are read where a step takes ``step`` seconds and a reading ``reading``."""
    clock: Any = pace.clock
    pace.begin(begin)
    taken = []
    for number in range(begin + 1, steps + 1):
        pace.step_begins()
        with pace.counted():
            if pace.take(number):
                taken.append(number)
                clock.now += reading
        clock.now += step
        pace.step_ends()
        pace.agree(pace.spent, pace.elapsed)
    return taken


def pace(every: int = 10, share: float = 0.02) -> Pace:
    return Pace(every, share, Clock())


def test_a_real_step_leaves_time_for_every_reading() -> None:
    assert walk(pace(), 500, step=0.5, reading=0.005) == list(range(1, 501, 10))


@pytest.mark.parametrize(("step", "reading"), [(0.008, 0.0025), (0.008, 0.02), (0.001, 0.0009), (0.05, 0.03)])
def test_the_share_is_kept_and_the_first_readings_are_taken(step: float, reading: float) -> None:
    p = pace()
    taken = walk(p, 4000, step, reading)
    assert taken[:FIRST] == [1, 11, 21, 31, 41]
    assert p.spent == pytest.approx(len(taken) * reading)
    assert p.spent <= 0.02 * (p.elapsed - p.spent)
    assert p.spent >= 0.015 * (p.elapsed - p.spent)  # nor does it look less than it may
    gaps = {b - a for a, b in zip(taken[FIRST:], taken[FIRST + 1 :], strict=False)}
    assert all(gap % 10 == 0 and gap <= 10 * SELDOM for gap in gaps)


def test_a_reading_that_never_fits_is_taken_now_and_then() -> None:
    assert walk(pace(), 2000, step=0.001, reading=1.0)[FIRST:] == [541, 1041, 1541]


def test_a_resumed_run_takes_up_the_rhythm() -> None:
    p = pace()
    assert walk(p, 60, step=1.0, reading=0.0, begin=25) == [31, 41, 51]
    assert p.taken == 6  # those at 1, 11 and 21 counted: every second one is thorough, as without the break
    assert walk(pace(every=0), 40, 1.0, 1.0) == []


class Slow(Bag):
    """A step takes 8 ms of the test's clock: two sides are encoded."""

    clock = Clock()

    def forward(self, inputs: Any) -> Any:
        self.clock.now += 0.004
        return super().forward(inputs)


def slow_run(monkeypatch: pytest.MonkeyPatch, folder: Path, reading: float, steps: int, **settings: Any) -> tuple[Doctor, list[Any]]:
    """A run whose readings take ``reading`` seconds."""
    encoder, whole = Slow(), readings.of_vectors
    encoder.clock = clock = Clock()

    def of_vectors(vectors: Any) -> dict[str, float]:
        clock.now += reading
        return whole(vectors)

    monkeypatch.setattr(readings, "of_vectors", of_vectors)
    doctor = Doctor(clock=clock, **settings)
    step = Step(batch_size=16, max_steps=steps, learning_rate=0.01, save_steps=0)
    score: Score = Cosine()
    train(Recipe((Sentences(48),), Aligned(), encoder, (InfoNCE(temperature=0.07),), score, step=step), folder, show=False, doctor=doctor)
    return doctor, read(folder / "log.jsonl")


def test_a_run_keeps_the_share_by_the_doctors_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor, records = slow_run(monkeypatch, tmp_path / "dear", 0.004, 200)
    taken = [r["step"] for r in records if "effective_rank" in r]
    assert taken[:FIRST] == [1, 11, 21, 31, 41] and len(taken) < 20
    assert doctor.pace.elapsed == pytest.approx(200 * 0.008 + doctor.pace.spent)
    assert 0.01 * 200 * 0.008 < doctor.pace.spent <= 0.02 * 200 * 0.008
    with_pairs = [r["step"] for r in records if "negatives_above" in r]
    assert with_pairs == taken[::2]  # every second reading looks at pairs, however far apart they lie
    _, records = slow_run(monkeypatch, tmp_path / "cheap", 0.0001, 200)
    assert [r["step"] for r in records if "effective_rank" in r] == list(range(1, 201, 10))


def test_what_every_record_holds_is_judged_though_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, gradient norm and temperature: their alarms come within ten steps, not at the next reading."""
    stuck = "dipole.losses.softmax.infonce.InfoNCE.__call__"
    whole = InfoNCE.__call__
    seen = []

    def then_nothing(self: InfoNCE, pairs: Any) -> Any:
        seen.append(1)
        return whole(self, pairs) * (1.0 if len(seen) <= 100 else 1e-9)

    monkeypatch.setattr(stuck, then_nothing)
    _, records = slow_run(monkeypatch, tmp_path / "run", 10.0, 160)
    assert [r["step"] for r in records if "effective_rank" in r] == [1, 11, 21, 31, 41]
    told = {r["step"]: r["alarms"] for r in records if "alarms" in r}
    assert list(told) == [121] and "gradients have vanished" in told[121][0]


def ranked(rank: int, world: int) -> list[int]:
    """The steps that a rank reads whose own readings would fit, where the other's are dear."""
    p = pace()
    clock: Any = p.clock
    p.begin(0)
    taken = []
    for number in range(1, 301):
        p.step_begins()
        with p.counted():
            if p.take(number):
                taken.append(number)
                clock.now += 0.008 if rank else 0.0
        clock.now += 0.008
        p.step_ends()
        times = torch.tensor([p.spent, p.elapsed])
        dist.all_reduce(times)
        p.agree(*times.tolist())
    return taken


def test_processes_take_the_same_readings(tmp_path: Path) -> None:
    first, second = on_ranks(ranked, 2, tmp_path)
    assert first == second and FIRST < len(first) < 30
