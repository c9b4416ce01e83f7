"""Blocks of positives: drawn without repeats, averaged, and refused where there are too few."""

import pytest
import torch

from dipole.core.errors import DataError
from dipole.core.scores import Dot
from dipole.views.blocks import Blocks


def test_a_block_is_the_mean_of_different_positives():
    rows = [{"anchor": f"a{i}", "positive": [f"p{i}{j}" for j in range(4)]} for i in range(3)]
    part = Blocks(size=3)
    batch = part(rows)
    assert list(batch.items) == ["queries", "keys", "key2", "key3"] and [len(v) for v in batch.items.values()] == [3] * 4
    for i in range(3):
        block = {batch.items[side][i] for side in part.sides}
        assert len(block) == 3 and block <= set(rows[i]["positive"])
    sides = {side: torch.full((3, 2), float(n)) for n, side in enumerate(batch.items)}
    pairs = part.pairs(sides, batch.meta, Dot())
    assert pairs.shape == (3, 3) and pairs.keys.tolist() == [[2.0, 2.0]] * 3
    with pytest.raises(DataError, match=r"row 0 of the batch must have at least 5 positives \(got 4\)"):
        Blocks(size=5)(rows)
