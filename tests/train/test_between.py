"""A loss may compare other sides than queries with keys: ``between``."""

import pytest
import torch

from dipole.assembly.build import build, resolved
from dipole.assembly.spec import load
from dipole.core.encoded import Encoded
from dipole.core.errors import ParameterError, UsageError
from dipole.core.scores import Dot
from dipole.encoders.momentum import Momentum
from dipole.losses import InfoNCE
from dipole.modality.toy.encoders.bag import Bag
from dipole.negatives.hardest import Hardest
from dipole.negatives.outside_batch import OutsideBatch
from dipole.negatives.queue import Queue
from dipole.train.objective import Objective
from dipole.train.step import backward
from dipole.views.aligned import Aligned
from tests.train.stand_in import Sentences


def vectors(n, seed):
    return torch.nn.functional.normalize(torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_query_view_and_key_view_with_a_filtered_queue():
    """Row 117: L_q + L_k, the hardest of the queue measured from the query, and from the key."""
    q, k, old = vectors(5, 0), vectors(5, 1), vectors(9, 2)
    queue = Queue(size=9)
    queue.update({"keys": old}, {})
    objective = Objective(
        Aligned(),
        Dot(),
        [InfoNCE(temperature=0.2)] * 2,
        [1.0, 0.5],
        negatives=[queue, OutsideBatch(), Hardest(keep=3)],
        between=[("queries", "keys"), ("keys", "queries")],
    )
    meta = {"queries.id": torch.arange(5), "keys.id": torch.arange(5) + 10}
    total = objective({"queries": Encoded(q), "keys": Encoded(k)}, meta)
    want = []
    for anchor, other in ((q, k), (k, q)):
        hard = (anchor @ old.T).topk(3).values
        logits = torch.cat([(anchor * other).sum(1, keepdim=True), hard], dim=1) / 0.2
        want.append(torch.nn.functional.cross_entropy(logits, torch.zeros(5, dtype=torch.long)))
    torch.testing.assert_close(total, want[0] + 0.5 * want[1])
    assert objective.seen.losses == pytest.approx([float(want[0]), 0.5 * float(want[1])])


def test_both_views_are_equal_where_the_sides_are():
    one, old = vectors(4, 0), vectors(6, 2)
    queue = Queue(size=6)
    queue.update({"keys": old}, {})
    objective = Objective(
        Aligned(), Dot(), [InfoNCE()] * 2, negatives=[queue, Hardest(keep=2)], between=[("queries", "keys"), ("keys", "queries")]
    )
    objective({side: Encoded(one) for side in ("queries", "keys")}, {f"{side}.id": torch.arange(4) for side in ("queries", "keys")})
    assert objective.seen.losses[0] == pytest.approx(objective.seen.losses[1])


def test_a_twin_is_encoded_where_a_loss_names_it():
    """ALBEF's and CoCoSoDa's cross blocks: live queries against twin keys, live keys against twin queries, a queue for each."""
    torch.manual_seed(0)
    encoder = Momentum(Bag(dimension=6, dropout=0.0), sides=())
    queues = [Queue(size=8, of="keys_twin", joins=("keys_twin",)), Queue(size=8, of="queries_twin", joins=("queries_twin",))]
    between = [("queries", "keys_twin"), ("keys", "queries_twin")]
    objective = Objective(Aligned(), Dot(), [InfoNCE(temperature=0.5)] * 2, negatives=queues, between=between)
    rows = list(Sentences(12))
    for start in (0, 6):
        objective.after_step()
        backward(encoder, encoder, objective, objective.views(rows[start : start + 6]), 0)
    texts = {side: [row[role] for row in rows] for side, role in (("queries", "anchor"), ("keys", "positive"))}
    q, k = (encoder.encode(texts[side]) for side in ("queries", "keys"))
    want = [torch.nn.functional.cross_entropy(a[6:] @ torch.cat([b[6:], b[:6]]).T / 0.5, torch.arange(6)) for a, b in ((q, k), (k, q))]
    assert objective.seen.losses == pytest.approx([float(w) for w in want], rel=1e-5)
    assert objective.seen.candidates == 12


RECIPE = """schema = 1
[parts]
rows = { use = "toy.sentences", count = 40 }
views = "aligned"
encoder = "toy.bag"
losses = [{ use = "infonce" }, { use = "infonce", between = ["keys", "queries"] }]
"""


def test_in_a_recipe(tmp_path):
    file = tmp_path / "one.toml"
    file.write_text(RECIPE)
    assert build(load(file)).between == (("queries", "keys"), ("keys", "queries"))
    (tmp_path / "again.toml").write_text(resolved(load(file)))
    assert build(load(tmp_path / "again.toml")).between == (("queries", "keys"), ("keys", "queries"))
    for wrong in ('"keys"', '["keys"]', '["keys", 3]', '["a", "b", "c"]'):
        file.write_text(RECIPE.replace('["keys", "queries"]', wrong))
        with pytest.raises(ParameterError, match=r"one.toml.*infonce: between must be two sides"):
            build(load(file))
    objective = Objective(Aligned(), Dot(), [InfoNCE()], between=[("queries", "key")])
    with pytest.raises(UsageError, match="between names the side 'key', the batch has queries, keys"):
        backward(Bag(), Bag(), objective, objective.views(list(Sentences(4))), 0)
