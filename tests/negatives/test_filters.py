"""What takes negatives away: by rank and by where they come from."""

import pytest
import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.relations import AllBut, Diagonal, Listed, Match
from dipole.losses import InfoNCE
from dipole.negatives.hardest import Hardest
from dipole.negatives.outside_batch import OutsideBatch
from dipole.negatives.queue import Queue


def vectors(n, d=5, seed=0):
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def moco(q, k, old, *filters):
    """Pairs with a queue, MoCo's way, then the filters."""
    queue, sides = Queue(size=len(old)), {"queries": q, "keys": k}
    queue.update({"keys": old}, {})
    pairs = queue.extend(Pairs.aligned(q, k), sides, {})
    for part in filters:
        pairs = part.extend(pairs, sides, {})
    return pairs


def cross_entropy(positive, negatives, temperature):
    logits = torch.cat([positive[:, None], negatives], dim=1) / temperature
    return torch.nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long), reduction="none")


def test_outside_batch_leaves_mocos_logits():
    q, k, old = vectors(4), vectors(4, seed=1), vectors(6, seed=2)
    values = InfoNCE(temperature=0.2)(moco(q, k, old, OutsideBatch()))
    torch.testing.assert_close(values, cross_entropy((q * k).sum(1), q @ old.T, 0.2))


def test_the_batch_stays_while_there_is_nothing_else():
    one = vectors(4)
    pairs = Pairs.aligned(one, one)
    assert OutsideBatch().extend(pairs, {"queries": one, "keys": one}, {}) is pairs


@pytest.mark.parametrize(("keep", "skip"), [(1, 0), (3, 0), (2, 1), (6, 0), (50, 0)])
def test_hardest_by_sorting(keep, skip):
    """L_q of row 117: the positive against the K' queue entries of the highest cosine to the query."""
    q, k, old = vectors(5), vectors(5, seed=1), vectors(6, seed=2)
    values = InfoNCE(temperature=0.2)(moco(q, k, old, OutsideBatch(), Hardest(keep=keep, skip=skip)))
    ranked = (q @ old.T).sort(dim=1, descending=True).values[:, skip : skip + keep]
    torch.testing.assert_close(values, cross_entropy((q * k).sum(1), ranked, 0.2))


def test_keeping_the_whole_queue_is_moco_whatever_its_order():
    q, k, old = vectors(5), vectors(5, seed=1), vectors(6, seed=2)
    whole = InfoNCE()(moco(q, k, old, OutsideBatch()))
    torch.testing.assert_close(InfoNCE()(moco(q, k, old, OutsideBatch(), Hardest(keep=6))), whole)
    some = [InfoNCE()(moco(q, k, old[order], OutsideBatch(), Hardest(keep=2))) for order in (torch.arange(6), torch.randperm(6))]
    torch.testing.assert_close(*some)


def test_the_hardest_at_low_temperature_is_the_zero_margin_triplet():
    q, k, old, t = vectors(8), vectors(8, seed=1), vectors(6, seed=2), 1e-4
    values = InfoNCE(temperature=t)(moco(q, k, old, OutsideBatch(), Hardest(keep=1))) * t
    triplet = ((q @ old.T).max(1).values - (q * k).sum(1)).clamp(min=0)
    assert 0 < int((triplet > 0).sum()) < 8
    torch.testing.assert_close(values, triplet, atol=1e-4, rtol=0)


def test_what_scores_above_the_limit_is_no_negative():
    q, k, old = vectors(5), vectors(5, seed=1), vectors(40, seed=2)
    values = InfoNCE(temperature=0.2)(moco(q, k, old, OutsideBatch(), Hardest(keep=3, below=0.3)))
    scores = q @ old.T
    ranked = scores.masked_fill(scores > 0.3, -torch.inf).sort(dim=1, descending=True).values[:, :3]
    torch.testing.assert_close(values, cross_entropy((q * k).sum(1), ranked, 0.2))


def test_rows_own_negatives_and_duplicates_are_ranked_for_those_who_see_them():
    q, k, extra = vectors(3), vectors(3, seed=1), vectors(4, seed=2)
    owner = torch.tensor([0, 0, 2, -1])
    pairs = Pairs.aligned(q, k, key_ids=torch.tensor([7, 7, 8])).with_negatives(extra, owner)
    values = InfoNCE(temperature=0.5)(Hardest(keep=2).extend(pairs, {}, {}))
    for row in range(3):
        seen = [q[row] @ k[j] for j in range(3) if j != row and {j, row} != {0, 1}]
        seen += [q[row] @ e for e, o in zip(extra, owner.tolist(), strict=True) if o in (-1, row)]
        ranked = torch.stack(seen).sort(descending=True).values[:2]
        torch.testing.assert_close(values[row : row + 1], cross_entropy((q[row] @ k[row])[None], ranked[None], 0.5))


def test_no_negative_left_is_refused():
    with pytest.raises(DataError, match=r"hardest: no row has a negative of rank 10 or more; lower skip"):
        Hardest(keep=1, skip=9).extend(Pairs.aligned(vectors(3), vectors(3)), {}, {})
    with pytest.raises(DataError, match=r"rank 1 or more below -2.0; lower skip, or raise below"):
        Hardest(keep=1, below=-2.0).extend(Pairs.aligned(vectors(3), vectors(3)), {}, {})


def dense(relation, n, m):
    mask = relation.tile(slice(0, n), slice(0, m))
    return torch.zeros(n, m, dtype=torch.bool) if mask is None else mask


@pytest.mark.parametrize("inner", ["diagonal", "match", "listed"])
def test_all_but_answers_for_any_block_counts_and_flips(inner):
    n, m, cpu = 7, 9, torch.device("cpu")
    labels = torch.randint(0, 3, (m,))
    one = {
        "diagonal": Diagonal(1, n),
        "match": Match(labels[:n], labels),
        "listed": Listed.of(torch.tensor([0, 3, 3]), torch.tensor([2, 4, 8]), torch.ones(3)),
    }[inner]
    relation = AllBut(one, slice(3, 8), cpu)
    want = ~dense(one, n, m)
    want[:, :3] = want[:, 8:] = False
    assert torch.equal(dense(relation, n, m), want)
    for rows, cols in ((slice(0, 4), slice(0, 3)), (slice(2, 7), slice(1, 5)), (slice(1, 2), slice(7, 9))):
        block = relation.tile(rows, cols)
        assert torch.equal(want[rows, cols], torch.zeros_like(want[rows, cols]) if block is None else block)
    assert torch.equal(relation.count(slice(1, 6), m), want[1:6].sum(1))
    assert torch.equal(dense(relation.widened(2), n, m + 2), torch.nn.functional.pad(want, (0, 2)))
    flipped = relation.flipped()
    assert torch.equal(dense(flipped, m, n), want.T)
    assert torch.equal(flipped.count(slice(0, m), n), want.T.sum(1))
    assert torch.equal(dense(flipped.flipped(), n, m), want)
