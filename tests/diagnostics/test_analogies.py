"""Parallel offsets: loops, known configurations, and a word model trained by the hinge on a corpus of two factors."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, ParameterError, UsageError
from dipole.diagnostics import offset_parallelism, pairing_consistency
from dipole.losses import Hinge
from dipole.modality.text.rows.windows import Windows
from dipole.pairwise.scores.cosine import Cosine


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_both_scores_by_loops() -> None:
    starts, ends = drawn(6, 3), drawn(6, 3, seed=1)
    cos = lambda a, b: float(torch.nn.functional.cosine_similarity(a, b, dim=0))  # noqa: E731
    offsets = ends - starts
    true = [cos(offsets[i], offsets[j]) for i, j in itertools.combinations(range(6), 2)]
    assert offset_parallelism(starts, ends) == pytest.approx(sum(true) / 15)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(4))
    other = ends[order] - starts
    fake = [cos(other[i], other[j]) for i, j in itertools.combinations(range(6), 2)]
    wins = sum((t > f) + 0.5 * (t == f) for t in true for f in fake) / (15 * 15)
    assert pairing_consistency(starts, ends, shuffles=1, seed=4) == pytest.approx(wins)


def test_one_relation_and_none() -> None:
    starts = drawn(40, 8)
    shift = 2 * drawn(8, seed=1)
    assert offset_parallelism(starts, starts + shift) == pytest.approx(1)
    assert pairing_consistency(starts, starts + shift) > 0.95
    strangers = drawn(40, 8, seed=2)
    assert abs(offset_parallelism(torch.zeros(40, 8), strangers)) < 0.1
    assert abs(pairing_consistency(starts, strangers) - 0.5) < 0.05


def corpus(folder: Path, lines: int = 900) -> Path:
    """Words of two factors, a kind and a thing; around a word stand words that go with its kind and words that go with its thing."""
    gen = torch.Generator().manual_seed(0)
    roll = lambda n: int(torch.randint(0, n, (), generator=gen))  # noqa: E731
    text = []
    for _ in range(lines):
        kind, thing = roll(2), roll(8)
        around = [f"kind{kind}x{roll(4)}", f"thing{thing}x{roll(4)}"]
        text.append(" ".join([around[0], f"word{kind}{thing}", around[1]]))
    (folder / "corpus.txt").write_text("\n".join(text))
    return folder / "corpus.txt"


@pytest.mark.parametrize("seed", range(3))
def test_the_hinge_on_neighbouring_words_makes_relations_parallel(seed: int, tmp_path: Path) -> None:
    rows = Windows(path=str(corpus(tmp_path)), window=1, least_count=1)
    names = sorted({row["anchor"] for row in rows})
    places = {name: place for place, name in enumerate(names)}
    pairs = torch.tensor([[places[row["anchor"]], places[row["positive"]]] for row in rows])
    gen = torch.Generator().manual_seed(seed)
    table = (0.1 * torch.randn(len(names), 16, generator=gen)).requires_grad_()
    step, loss = torch.optim.Adam([table], lr=2e-2), Hinge(margin=0.2)

    def measured() -> tuple[float, float, float]:
        ends = [torch.stack([table[places[f"word{kind}{thing}"]] for thing in range(8)]).detach() for kind in range(2)]
        unit = [torch.nn.functional.normalize(x, dim=1) for x in ends]
        return offset_parallelism(*unit), offset_parallelism(unit[0], unit[1].roll(1, 0)), pairing_consistency(*unit)

    before = measured()
    for _ in range(250):
        some = pairs[torch.randint(0, len(pairs), (128,), generator=gen)]
        step.zero_grad()
        centre, around = table[some[:, 0]], table[some[:, 1]]
        # copies of a neighbour, and other neighbours of the same word, are no negatives
        loss(Pairs.aligned(centre, around, score=Cosine(), query_ids=some[:, 0], key_ids=some[:, 1])).mean().backward()
        step.step()
    parallel, shuffled, consistent = measured()
    assert parallel > 0.5 and parallel > shuffled + 0.15 and parallel > before[0] + 0.3, (before, parallel, shuffled)
    assert consistent > 0.7


def test_windows_of_a_text(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("The cat sat.\nthe cat ran away\n")
    rows = list(Windows(path=str(file), window=1, least_count=2))
    assert rows == [{"anchor": "the", "positive": "cat"}, {"anchor": "cat", "positive": "the"}] * 2
    wide = Windows(path=str(file), window=3, least_count=1)
    assert len(wide) >= 10 and wide.fingerprint != Windows(path=str(file), window=1, least_count=1).fingerprint
    assert all(row["anchor"] != row["positive"] for row in wide)
    with pytest.raises(UsageError, match="there is no such file"):
        Windows(path=str(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="no two neighbouring words occur 5 times each"):
        Windows(path=str(file))


def test_what_is_refused() -> None:
    x = drawn(4, 2)
    with pytest.raises(DataError, match=r"start and end of a pair coincide.*first row 0"):
        offset_parallelism(x, x)
    with pytest.raises(ParameterError, match="shuffles must be a whole number of at least 1"):
        pairing_consistency(x, -x, shuffles=0)
