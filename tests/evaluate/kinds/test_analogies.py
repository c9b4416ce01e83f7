"""Analogies against whole matrices."""

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError
from dipole.evaluate.kinds.analogies import Analogies, AnalogyTask


def grid(noise=0.0, seed=0):
    """Words are (row, column); vectors add a row's and a column's: every rectangle is an analogy."""
    chance = np.random.default_rng(seed)
    rows, cols = chance.normal(size=(5, 12)), chance.normal(size=(4, 12))
    words = [f"w{r}{c}" for r in range(5) for c in range(4)]
    table = {w: rows[int(w[1])] + cols[int(w[2])] + noise * chance.normal(size=12) for w in words}
    questions = [
        (f"w{r}{c}", f"w{r}{e}", f"w{s}{c}", f"w{s}{e}")
        for r in range(5)
        for s in range(5)
        for c in range(4)
        for e in range(4)
        if r != s and c != e
    ]
    return questions, words, table


def test_answers_against_whole_matrices():
    questions, _, table = grid(noise=0.8)
    sections = ["first" if q[0] < "w2" else "second" for q in questions]
    found = Analogies()(AnalogyTask("g", questions, sections), lambda items: np.stack([table[w] for w in items]), samples=100)
    order = list(dict.fromkeys(w for q in questions for w in q))
    unit = np.stack([table[w] / np.linalg.norm(table[w]) for w in order])
    at = {w: i for i, w in enumerate(order)}
    right = {"3cosadd": [], "3cosmul": []}
    for place, (a, b, c, d) in enumerate(questions):
        va, vb, vc = (unit[at[w]] for w in (a, b, c))
        add = unit @ (vb - va + vc)
        s = [(unit @ v + 1) / 2 for v in (va, vb, vc)]
        for way, scores in (("3cosadd", add), ("3cosmul", s[1] * s[2] / (s[0] + 0.001))):
            scores[[at[a], at[b], at[c]]] = -np.inf
            answer = order[int(scores.argmax())]
            assert found.per_item[way][place] == answer
            right[way].append(answer == d)
    for way, values in right.items():
        assert found.metrics[way] == pytest.approx(np.mean(values))
        by_section = [np.mean([v for v, s in zip(values, sections, strict=True) if s == name]) for name in ("first", "second")]
        assert found.metrics[f"{way}_macro"] == pytest.approx(np.mean(by_section))
    assert 0.2 < found.metrics["3cosadd"] < 0.98


def test_exact_parallelograms_are_all_found():
    questions, _, table = grid()
    found = Analogies()(
        AnalogyTask("g", questions, ["all"] * len(questions)), lambda items: np.stack([table[w] for w in items]), samples=20
    )
    assert found.metrics["3cosadd"] > 0.95  # vectors are scaled to unit length first, which bends parallelograms a little


def test_more_words_may_be_answers():
    questions, _, table = grid()
    table["near"] = table["w11"] * 1.001
    task = AnalogyTask("g", questions, ["all"] * len(questions), ["near"])
    found = Analogies()(task, lambda items: np.stack([table[w] for w in items]), samples=20)
    assert found.counts["words"] == 21
    assert "near" in found.per_item["3cosadd"]  # a copy of w11 that comes first


def test_files(tmp_path):
    (tmp_path / "q.txt").write_text(": capital-common\nAthens Greece Rome Italy\n: gram1\ngood well bad badly\n")
    task = Analogies().read(str(tmp_path / "q.txt"))
    assert task.questions == [("Athens", "Greece", "Rome", "Italy"), ("good", "well", "bad", "badly")]
    assert task.sections == ["capital-common", "gram1"]
    (tmp_path / "q.txt").write_text(": only a heading\n")
    with pytest.raises(DataError, match="holds no questions"):
        Analogies().read(str(tmp_path / "q.txt"))
    with pytest.raises(DataError, match="at least five words"):
        Analogies()(AnalogyTask("x", [("a", "b", "a", "b")], ["s"]), lambda i: torch.eye(5)[: len(i)])
