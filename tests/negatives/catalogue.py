"""Every negatives part as the contract runs it: the list its tests walk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dipole.encoders.momentum import Momentum
from dipole.losses import Distilled, InfoNCE, OwnOnly, PredictedTwin, SigLIP
from dipole.negatives.centroids import Centroids
from dipole.negatives.hardest import Hardest
from dipole.negatives.mixed import Mixed
from dipole.negatives.neighbours import Neighbours
from dipole.negatives.noise import Noise
from dipole.negatives.outside_batch import OutsideBatch
from dipole.negatives.own_negatives import OwnNegatives
from dipole.negatives.queue import Queue
from dipole.negatives.task_queues import TaskQueues
from dipole.negatives.twin_teacher import TwinTeacher
from dipole.negatives.twin_views import TwinViews


@dataclass(frozen=True)
class Case:
    """A part under the contract. ``before``: parts that go before it in a recipe. ``around``: what goes around the encoder."""

    make: Callable[[], Any]
    before: Callable[[], tuple[Any, ...]] = tuple
    around: Callable[[Any], Any] = lambda encoder: encoder
    losses: tuple[Any, ...] = (InfoNCE(temperature=1.0, two_sided=True), SigLIP(temperature=1.0), InfoNCE(temperature=0.5))
    between: tuple[tuple[str, str], ...] = (("queries", "keys"), ("queries", "keys"), ("keys", "queries"))
    exempt: Mapping[str, str] = field(default_factory=dict)


def moving(encoder):
    return Momentum(encoder, decay=0.5)


CASES = {
    "queue": Case(lambda: Queue(size=18)),
    "queue of the momentum encoder": Case(lambda: Queue(size=18), around=moving),
    "queue of a side the views do not have": Case(lambda: Queue(size=18, of="queries_twin"), around=moving),
    "twin_teacher": Case(
        TwinTeacher,
        before=lambda: (Queue(size=18),),
        around=moving,
        losses=(Distilled(temperature=1.0, teacher_temperature=1.0),),
        between=(),
        exempt={"test_it_makes_a_difference": "without the teacher's channel the loss that reads it refuses to run"},
    ),
    "twin_teacher, and two queues of the twin": Case(
        lambda: TwinTeacher(asking="keys", answering="queries", joins=("queries_twin",)),
        before=lambda: (
            Queue(size=18, of="keys_twin", joins=("keys_twin",)),
            Queue(size=15, of="queries_twin", joins=("queries_twin",)),
            TwinTeacher(joins=("keys_twin",)),
        ),
        around=lambda encoder: Momentum(encoder, decay=0.5, sides=()),
        losses=(
            InfoNCE(temperature=1.0, two_sided=True),
            Distilled(temperature=1.0, teacher_temperature=1.0),
            Distilled(temperature=1.0, teacher_temperature=1.0, share=0.7),
        ),
        between=(("queries", "keys"), ("queries", "keys_twin"), ("keys", "queries_twin")),
        exempt={"test_it_makes_a_difference": "without the teacher's channel the loss that reads it refuses to run"},
    ),
    "own_negatives": Case(
        OwnNegatives,
        around=lambda encoder: Momentum(encoder, decay=0.5, sides=()),
        losses=(InfoNCE(temperature=1.0, two_sided=True), OwnOnly(InfoNCE(temperature=0.5))),
        between=(("queries", "keys"), ("keys", "keys_twin")),
        exempt={"test_it_makes_a_difference": "without hard negatives the loss that reads only a row's own refuses to run"},
    ),
    "twin_views": Case(
        TwinViews,
        around=lambda encoder: Momentum(encoder, decay=0.5, sides=()),
        losses=(PredictedTwin(dimension=8, hidden=0),),
        between=(),
        exempt={"test_it_makes_a_difference": "without the twin's channel the loss that reads it refuses to run"},
    ),
    "neighbours": Case(
        lambda: Neighbours(clusters=3, size=30, count=2),
        before=lambda: (TwinViews(),),
        around=lambda encoder: Momentum(encoder, decay=0.5, sides=()),
        losses=(PredictedTwin(dimension=8, hidden=0),),
        between=(),
    ),
    "queue that starts late": Case(lambda: Queue(size=18, start=1)),
    "task_queues": Case(lambda: TaskQueues(size=5, tasks=3)),
    "outside_batch": Case(OutsideBatch, before=lambda: (Queue(size=18),)),
    "hardest": Case(lambda: Hardest(keep=4, skip=1), before=lambda: (Queue(size=18),)),
    "noise": Case(lambda: Noise(ratio=1.5)),
    "noise that is ascended": Case(lambda: Noise(ratio=0.7, ascents=2, size=0.1, temperature=0.5)),
    "mixed": Case(lambda: Mixed(pool=5, between=3, toward=2), before=lambda: (Queue(size=18),)),
    "centroids": Case(lambda: Centroids(clusters=4, rate=0.5, spread=1.0)),
}
