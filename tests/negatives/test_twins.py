"""Comparisons with what the momentum encoder makes of the batch."""

import pytest
import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import UsageError
from dipole.core.pairs import Pairs
from dipole.losses import Distilled, InfoNCE, OwnOnly
from dipole.negatives.own_negatives import OwnNegatives
from dipole.negatives.queue import Queue
from dipole.negatives.twin_teacher import TwinTeacher
from dipole.pairwise.scores.cosine import Cosine
from dipole.train.objective import Objective
from dipole.views.aligned import Aligned
from tests.golden_case import Case


@pytest.mark.parametrize(("stem", "share"), [("alpha0", 0.0), ("alpha04", 0.4)])
def test_two_queues_and_two_directions_are_albefs(stem, share):
    """The whole objective, queues included, has the official value and gradients."""
    case = Case(f"albef__ALBEF.forward-ITC-part-__{stem}")
    tau, joins = case.hyper["temperature"], (("keys_twin",), ("queries_twin",))
    queues = [Queue(size=6, of=side, joins=(side,)) for side in ("keys_twin", "queries_twin")]
    for queue, name in zip(queues, ("text", "image"), strict=True):
        queue.update({queue.of: case.array(f"in_{name}_queue")}, {})
    teachers = [TwinTeacher(joins=joins[0]), TwinTeacher(asking="keys", answering="queries", joins=joins[1])]
    loss = Distilled(temperature=tau, teacher_temperature=tau, share=share)
    between = [("queries", "keys_twin"), ("keys", "queries_twin")]
    objective = Objective(Aligned(), Cosine(), [loss, loss], [0.5, 0.5], negatives=[*queues, *teachers], between=between)
    image, text = case.leaves("image", "text")
    sides = {"queries": image, "keys": text, "queries_twin": case.array("in_image_m"), "keys_twin": case.array("in_text_m")}
    places = torch.arange(len(image))
    meta = {"queries.id": places, "keys.id": 100 + places}
    case.agrees(objective({side: Encoded(vectors) for side, vectors in sides.items()}, meta), image=image, text=text)
    objective.after_step()  # the oldest make place for the momentum encoder's vectors of this batch
    for queue in queues:
        assert torch.equal(queue.memory.held.vectors[:4], sides[queue.of]) and len(queue.memory.held.vectors) == 6


def test_own_negatives_join_a_comparison_with_the_twin():
    """DeGLA's text-grounded term, row by row."""
    dice = torch.Generator().manual_seed(0)
    keys, twin, hard = (torch.randn(n, 3, generator=dice, dtype=torch.float64) for n in (4, 4, 5))
    owner, copy = torch.tensor([0, 0, 1, 3, 2]), 7  # the last one is a copy of what row 2 has
    sides = {"queries": keys, "keys": keys, "keys_twin": twin, "negatives": hard}
    meta = {"keys.id": torch.tensor([1, 2, copy, 4]), "negatives.id": torch.tensor([11, 12, 13, 14, copy]), "negatives.owner": owner}
    pairs = OwnNegatives().extend(Pairs.aligned(keys, twin), sides, meta)
    got = OwnOnly(InfoNCE(temperature=0.5))(pairs)
    for row in range(4):
        mine = [hard[place] for place in range(5) if owner[place] == row and not (row == 2 and place == 4)]
        scores = torch.stack([keys[row] @ other for other in (twin[row], *mine)]) / 0.5
        torch.testing.assert_close(got[row], scores.logsumexp(0) - scores[0])
    with pytest.raises(UsageError, match="own_negatives: no row has a hard negative"):
        OwnNegatives().extend(pairs, {"keys": keys}, meta)
