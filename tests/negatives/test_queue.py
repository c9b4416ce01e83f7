"""The queue against a list, MoCo's and ESimCSE's formulas by hand, and what it must refuse."""

import pytest
import torch

from dipole.core.errors import CheckpointError, DataError, ParameterError, UsageError
from dipole.core.pairs import Pairs
from dipole.encoders.momentum import Momentum
from dipole.losses import InfoNCE, SupCon
from dipole.negatives.memory import Memory
from dipole.negatives.queue import Queue
from dipole.pairwise.scores.cosine import Cosine
from dipole.train.checkpoint import restore_module
from tests.golden_case import Case


def vectors(n, d=5, seed=0):
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


@pytest.mark.parametrize("size", [1, 4, 7, 30])
def test_the_ring_holds_what_a_list_would(size):
    memory, kept = Memory(size, "test"), []
    for step, n in enumerate([3, 1, 9, 2, 5]):
        new = vectors(n, seed=step)
        memory.push(new, ids=torch.arange(n) + 100 * step, labels=torch.full((n,), step))
        kept = (kept + [(tuple(v.tolist()), 100 * step + i, step) for i, v in enumerate(new)])[-size:]
        count = len(memory)
        held = zip(memory.vectors[:count].tolist(), memory.id[:count].tolist(), memory.label[:count].tolist(), strict=True)
        assert sorted((tuple(v), i, label) for v, i, label in held) == sorted(kept)
    assert int(memory.steps) == 5 and int(memory.seen) == 20


def test_moco_by_hand():
    """MoCo's loss: the positive against the queue, in-batch keys included here as further negatives."""
    q, k, old = vectors(4), vectors(4, seed=1), vectors(6, seed=2)
    queue = Queue(size=6)
    queue.update({"keys": old}, {})
    values = InfoNCE(temperature=0.2)(queue.extend(Pairs.aligned(q, k), {"keys": k}, {}))
    logits = torch.cat([q @ k.T, q @ old.T], dim=1) / 0.2
    torch.testing.assert_close(values, torch.nn.functional.cross_entropy(logits, torch.arange(4), reduction="none"))


def test_esimcse_official_value_and_gradients():
    case = Case("esimcse__cl_forward__queue")
    z, z_pos, old = case.leaves("z", "z_pos", "queue")
    queue = Queue(size=len(old), of="queries_twin")
    queue.update({"queries_twin": old.detach()}, {})
    pairs = queue.extend(Pairs.aligned(z, z_pos, score=Cosine()), {"queries_twin": z}, {})
    case.agrees(InfoNCE(temperature=0.05)(pairs).mean(), z=z, z_pos=z_pos)


def test_cocosoda_official_value_gradient_queues_and_twin():
    """Six blocks over four queues and two twins of an embedding table; the twins follow before they encode."""
    case = Case("cocosoda__Multi_Loss_CoCoSoDa__six_blocks")
    table = case.leaf("W_q")
    twins = []
    for name in ("W_ck", "W_nk"):
        twin = Momentum(torch.nn.Embedding.from_pretrained(table.detach().clone()), decay=0.9)
        twin.twin.weight.data.copy_(case.array(f"in_{name}"))
        twin.after_step(1, 1)
        twins.append(twin.twin.weight)
    torch.testing.assert_close(twins[0], case.array("out_new_W_ck"))

    def encode(weights, ids):
        counts = (ids != 1).double()
        mean = (weights[ids] * counts[..., None]).sum(1) / counts.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=1)

    code, words = (encode(table, case.leaf(n)) for n in ("code_q", "nl_q"))
    code_twin, words_twin = (encode(w, case.leaf(n)).detach() for w, n in zip(twins, ("code_k", "nl_k"), strict=True))
    queues = {name: Queue(size=4) for name in ("code", "nl", "mcode", "mnl")}
    for name, queue in queues.items():
        queue.update({"keys": case.array(f"in_{name}_queue")}, {})
    blocks = [(code, words, "nl"), (code, words_twin, "mnl"), (words, code, "code"), (words, code_twin, "mcode")]
    blocks += [(code, code_twin, "mcode"), (words, words_twin, "mnl")]
    loss = InfoNCE(temperature=case.hyper["T"])
    values = torch.stack([loss(queues[name].extend(Pairs.aligned(a, b), {"keys": b}, {})).mean() for a, b, name in blocks])
    torch.testing.assert_close(values, case.array("out_blocks"))
    case.agrees(values.mean(), W_q=table)
    for name, new in (("code", code), ("mnl", words_twin)):
        queues[name].update({"keys": new.detach()}, {})
        torch.testing.assert_close(queues[name].memory.vectors, case.array(f"out_new_{name}_queue"))


def test_copies_of_the_own_item_are_no_negatives():
    """An entry with the content of row i's key is left out of row i, and of no other."""
    q, k, old = vectors(3), vectors(3, seed=1), vectors(4, seed=2)
    queue = Queue(size=4)
    queue.update({"keys": old}, {"keys.id": torch.tensor([7, 8, 9, 8])})
    meta = {"queries.id": torch.tensor([1, 2, 3]), "keys.id": torch.tensor([8, 5, 9])}
    pairs = Pairs.aligned(q, k, query_ids=meta["queries.id"], key_ids=meta["keys.id"])
    values = InfoNCE(temperature=1.0)(queue.extend(pairs, {"keys": k}, meta))
    logits = torch.cat([q @ k.T, q @ old.T], dim=1)
    for row, col in ((0, 4), (0, 6), (2, 5)):
        logits[row, col] = -torch.inf
    torch.testing.assert_close(values, torch.nn.functional.cross_entropy(logits, torch.arange(3), reduction="none"))


def test_copies_of_any_positive_of_a_group_are_no_negatives():
    from dipole.core.scores import Dot
    from dipole.views.grouped import Grouped

    views = Grouped()
    batch = views([{"anchor": "a", "positive": ["p", "q"]}, {"anchor": "b", "positive": ["r"]}])
    earlier = views([{"anchor": "c", "positive": ["q", "s"]}])
    queue = Queue(size=4)
    queue.update({"keys": vectors(2, seed=3)}, earlier.meta)
    sides = {"queries": vectors(2), "keys": vectors(3, seed=1)}
    pairs = queue.extend(views.pairs(sides, batch.meta, Dot()), sides, batch.meta)
    left_out = [[bool(r.tile(slice(i, i + 1), slice(j, j + 1))) for j in (3, 4)] for i in (0, 1) for r in pairs.duplicates[-1:]]
    assert left_out == [[True, False], [False, False]]


def test_labels_make_entries_positive_as_in_cross_batch_memory():
    """SupCon over batch and memory together equals SupCon over one batch of both, for the batch's rows."""
    x, labels = vectors(8), torch.tensor([0, 1, 0, 2, 2, 1, 0, 3])
    queue = Queue(size=5, of="queries")
    queue.update({"queries": x[3:]}, {"queries.label": labels[3:]})
    pairs = queue.extend(Pairs.labelled(x[:3], labels[:3]), {"queries": x[:3]}, {})
    whole = SupCon(temperature=0.3)(Pairs.labelled(x, labels))[:3]
    torch.testing.assert_close(SupCon(temperature=0.3)(pairs), whole)
    assert pairs.positives_per_row().tolist() == [2, 1, 2]


def test_the_order_of_the_queue_does_not_matter():
    q, k, old = vectors(4), vectors(4, seed=1), vectors(6, seed=2)
    found = []
    for order in (torch.arange(6), torch.tensor([3, 1, 5, 0, 2, 4])):
        queue = Queue(size=6)
        queue.update({"keys": old[order]}, {})
        found.append(InfoNCE()(queue.extend(Pairs.aligned(q, k), {"keys": k}, {})))
    torch.testing.assert_close(*found)


def test_no_gradient_reaches_the_queue():
    q, k = vectors(3).requires_grad_(), vectors(3, seed=1).requires_grad_()
    queue = Queue(size=3)
    queue.update({"keys": k}, {})
    InfoNCE()(queue.extend(Pairs.aligned(q, k), {"keys": k}, {})).mean().backward()
    assert not queue.memory.vectors.requires_grad and q.grad is not None


def test_refusals():
    one = vectors(3)
    with pytest.raises(ParameterError, match="queue: size must be a number of at least 1, got 0"):
        Queue(size=0)
    with pytest.raises(UsageError, match=r"there is no side 'key' to keep; set of to one of queries, keys"):
        Queue(size=2, of="key").extend(Pairs.aligned(one, one), {"queries": one, "keys": one}, {})
    queue = Queue(size=2)
    queue.update({"keys": one}, {})
    other = vectors(3, d=4)
    with pytest.raises(DataError, match=r"queue: holds vectors of 5 dimensions.*got 4"):
        queue.extend(Pairs.aligned(other, other), {"keys": other}, {})
    with pytest.raises(DataError, match=r"queue: holds vectors of 5 dimensions.*got 4"):
        queue.update({"keys": other}, {})
    with pytest.raises(DataError, match="not token vectors"):
        queue.update({"keys": (torch.zeros(1, 2, 5), torch.ones(1, 2))}, {})
    with pytest.raises(CheckpointError, match="size mismatch"):
        restore_module(Queue(size=3), queue.state_dict(), "here")
