"""Word similarity against scipy, and its files."""

import numpy as np
import pytest
from scipy import stats

from dipole.core.errors import DataError
from dipole.evaluate.kinds.word_similarity import WordSimilarity
from dipole.evaluate.scored_pairs import ScoredPairs


def test_figures_are_scipys():
    chance = np.random.default_rng(0)
    table = {f"w{i}": chance.normal(size=5) for i in range(40)}
    first, second = ([f"w{i}" for i in chance.integers(0, 40, 70)] for _ in range(2))
    gold = chance.random(70).round(1)
    found = WordSimilarity()(ScoredPairs("w", first, second, gold), lambda items: np.stack([table[w] for w in items]), samples=100)
    cosine = [table[a] @ table[b] / np.linalg.norm(table[a]) / np.linalg.norm(table[b]) for a, b in zip(first, second, strict=True)]
    assert found.metrics["spearman"] == pytest.approx(stats.spearmanr(cosine, gold).statistic, abs=1e-3)
    assert found.metrics["pearson"] == pytest.approx(stats.pearsonr(cosine, gold).statistic, abs=1e-6)
    assert found.counts["words"] == len({*first, *second})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.txt", "cat\tdog\t7.5\nhot dog\tsoup\t2\nx\ty\t0\n"),
        ("w.txt", "cat dog 7.5\nhot_dog soup 2\nx y 0\n"),
        ("w.csv", "word1,word2,score\ncat,dog,7.5\nhot dog,soup,2\nx,y,0\n"),
    ],
)
def test_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    task = WordSimilarity().read(str(tmp_path / name))
    assert [one.replace("_", " ") for one in task.first] == ["cat", "hot dog", "x"]
    assert task.scores == [7.5, 2.0, 0.0]


def test_bad_lines(tmp_path):
    (tmp_path / "w.txt").write_text("cat\tdog\t7.5\ncat\tdog\n")
    with pytest.raises(DataError, match=r"w\.txt:2: a line must be two words and a finite number \(got 'cat\\tdog'\)"):
        WordSimilarity().read(str(tmp_path / "w.txt"))
    (tmp_path / "w.txt").write_text("cat dog nan\n")
    with pytest.raises(DataError, match="at least 3 rows"):
        WordSimilarity().read(str(tmp_path / "w.txt"))
