"""MinHash and its bands against all pairs compared plainly."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from dipole.audit.content import normal
from dipole.audit.near import SHAPES, bands, candidates, grams, jaccard, numbers_of, shape_for
from dipole.audit.run import Settings, audit
from tests.audit.made import Row, rows, write


def plain(row: Row) -> set[tuple[str, str]]:
    """The 5-grams of a row's texts, role by role, without a hash."""
    found = set()
    for role, value in row.items():
        even = normal(value)
        found |= {(role, even[at : at + 5]) for at in range(max(1, len(even) - 4))}
    return found


def plain_jaccard(a: Row, b: Row) -> float:
    left, right = plain(a), plain(b)
    return len(left & right) / len(left | right)


def changed(row: Row, dice: random.Random, edits: int) -> Row:
    """The row with a few letters replaced."""
    new = dict(row)
    for _ in range(edits):
        role = dice.choice(sorted(new))
        at = dice.randrange(len(new[role]))
        new[role] = new[role][:at] + "q" + new[role][at + 1 :]
    return new


def several(count: int, seed: int) -> list[Row]:
    """Rows, a third of them variants of an earlier one, from nearly equal to hardly alike."""
    dice = random.Random(seed)
    made = rows(count, seed)
    for place in range(3, count, 3):
        made[place] = changed(made[dice.randrange(place)], dice, dice.randrange(1, 9))
    return made


def only_negatives(a: Row, b: Row) -> bool:
    """The same pair with another negative: differs on purpose."""
    return (a["anchor"], a["positive"]) == (b["anchor"], b["positive"])


@pytest.mark.parametrize("threshold", [0.9, 0.8, 0.65, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_near_rows_are_those_of_all_pairs(seed: int, threshold: float, tmp_path: Path) -> None:
    made = several(240, seed)
    sets = [plain(row) for row in made]
    near = []
    for i, j in combinations(range(len(made)), 2):
        both = len(sets[i] & sets[j])
        if threshold <= both / (len(sets[i]) + len(sets[j]) - both) < 1 and not only_negatives(made[i], made[j]):
            near.append((i, j))
    assert len(near) > 3
    report = audit(write(tmp_path / "data.jsonl", made), Settings(threshold=threshold))
    told = {frozenset(f.rows) for f in report.findings if f.kind == "near-duplicate"}
    parents = list(range(len(made)))

    def root(i: int) -> int:
        return i if parents[i] == i else root(parents[i])

    for i, j in near:
        parents[root(j)] = root(i)
    groups = {root(i): frozenset(j + 1 for j in range(len(made)) if root(j) == root(i)) for i in {i for pair in near for i in pair}}
    assert told == set(groups.values())


def test_jaccard_of_hashes_is_jaccard_of_grams() -> None:
    made = several(60, 5)
    texts = [[(role, normal(value)) for role, value in row.items()] for row in made]
    values, starts = grams(texts)
    sets = [np.unique(values[a:b]) for a, b in pairwise(starts)]
    for i, j in combinations(range(60), 2):
        assert jaccard(sets[i], sets[j]) == pytest.approx(plain_jaccard(made[i], made[j]))


def test_short_texts_and_texts_of_another_role() -> None:
    values, starts = grams([[("anchor", "ab")], [("anchor", "ab")], [("positive", "ab")], [("anchor", "abc"), ("positive", "ab")]])
    assert np.diff(starts).tolist() == [1, 1, 1, 2]
    assert values[0] == values[1] != values[2] == values[4]
    long, _ = grams([[("anchor", "hello world")]])
    again, at = grams([[("anchor", "x")], [("anchor", "hello world")], [("anchor", "y")]])
    assert len(long) == 7 and again[at[1] : at[2]].tolist() == long.tolist()  # neighbours change nothing


@pytest.mark.parametrize(("threshold", "count", "size"), SHAPES)
def test_a_band_agrees_as_often_as_it_should(threshold: float, count: int, size: int) -> None:
    """1 - (1 - J^r)^b over many pairs of equal similarity; four standard errors. At the threshold that is 99.6% or more."""
    dice = np.random.default_rng(0)
    pool = dice.integers(0, 2**32, (3000, 300), dtype=np.uint32)
    for shared, own in ((80, 20), (60, 40), (40, 60)):  # J = 2/3, 3/7, 1/4
        left = pool[:, : shared + own]
        right = np.concatenate([pool[:, :shared], pool[:, shared + own : shared + 2 * own]], 1)
        starts = np.arange(0, 3001 * (shared + own), shared + own)
        shape = (count, size)
        agree = (bands(left.ravel(), starts, shape) == bands(right.ravel(), starts, shape)).any(1).mean()
        j = shared / (shared + 2 * own)
        wanted = 1 - (1 - j**size) ** count
        assert agree == pytest.approx(wanted, abs=4 * max(wanted * (1 - wanted), 1e-4) ** 0.5 / 3000**0.5)
    assert shape_for(threshold) == (count, size) and 1 - (1 - threshold**size) ** count > 0.996


def test_candidates_of_full_buckets_stay_few() -> None:
    keys = np.zeros((3000, 21), dtype=np.uint32)  # everything in one bucket
    pairs, capped = candidates(keys, np.zeros(3000, dtype=np.int64))
    assert capped and len(pairs) < 5 * 3000
    assert (pairs[:, 0] < pairs[:, 1]).all() and len(np.unique(pairs, axis=0)) == len(pairs)
    pairs, capped = candidates(keys[:40], np.zeros(40, dtype=np.int64))
    assert not capped and len(pairs) == 40 * 39 // 2
    assert len(candidates(keys[:40], np.arange(40))[0]) == 0  # other numbers or labels
    assert len(candidates(keys[:0], np.zeros(0, dtype=np.int64))[0]) == 0


def test_numbers() -> None:
    assert numbers_of([("anchor", "size 42, 3rd"), ("positive", "none")]) == "42 3"
