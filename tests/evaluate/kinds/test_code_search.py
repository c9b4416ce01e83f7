"""Code search: ranks against loops, ties, and CoSQA's files."""

import json

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError, UsageError
from dipole.evaluate.kinds.code_search import CodeSearch
from dipole.evaluate.ranking import best_ranks, ranks_of
from dipole.evaluate.task import RetrievalTask


def test_ranks_against_loops():
    q, d = (torch.nn.functional.normalize(torch.randn(n, 6), dim=1) for n in (40, 300))
    gold = [[i % 300, (7 * i + 3) % 300] for i in range(40)]
    found = best_ranks(q, d, gold)
    for i, places in enumerate(gold):
        cosine = (d @ q[i]).double()
        best = max(float(cosine[p]) for p in places)
        assert found[i] == 1 + sum(float(cosine[j]) > best + 1e-6 for j in range(300) if j not in places)


def test_a_copy_counts_half_a_rank_wherever_it_stands():
    d = torch.eye(4)[[0, 1, 1, 2]]
    q = torch.eye(4)[[1]]
    assert best_ranks(q, d, [[1]]).tolist() == best_ranks(q, d, [[2]]).tolist() == [1.5]
    assert best_ranks(torch.ones(1, 4) / 2, torch.ones(9, 4) / 2, [[0]]).tolist() == [5.0]  # the middle of nine


def test_several_cosines_in_one_pass():
    q, d = torch.eye(3), torch.eye(3)
    found = ranks_of(q, d, [[0], [1], [2]], {"high": torch.ones(3), "low": torch.full((3,), -0.5)})
    assert (found["high"].tolist(), found["low"].tolist()) == ([1.0] * 3, [3.0] * 3)


def test_mean_reciprocal_rank_has_no_cutoff():
    vectors = {"q": [1.0, 0.0], **{f"f{i}": [1.0, i / 50] for i in range(40)}}
    task = RetrievalTask("c", ["0"], ["q"], [f"f{i}" for i in range(40)], [f"f{i}" for i in range(40)], {"0": {"f30": 1}})
    found = CodeSearch()(task, lambda items: np.array([vectors[i] for i in items]), samples=10)
    assert found.metrics["mrr"] == pytest.approx(1 / 31)
    assert found.metrics["recall@10"] == 0.0


def test_cosqa_files(tmp_path):
    (tmp_path / "code_idx_map.txt").write_text(json.dumps({"def a(): pass": 0, "def b(): pass": 1}))
    test = tmp_path / "cosqa-retrieval-test-500.json"
    test.write_text(json.dumps([{"doc": "do a", "code": "def a(): pass", "retrieval_idx": 0}, {"doc": "do z", "retrieval_idx": 9}]))
    task = CodeSearch().read(str(test))
    assert (list(task.queries), list(task.documents)) == (["do a", "do z"], ["def a(): pass", "def b(): pass"])
    assert task.counts == {"judgements_outside_corpus": 1}
    found = CodeSearch()(task, lambda items: np.array([[1.0, "a" in i, "b" in i] for i in items]), samples=10)
    assert (found.counts["queries"], found.counts["queries_without_relevant"], found.metrics["mrr"]) == (1, 1, 1.0)
    test.write_text('[{"doc": 3}]')
    with pytest.raises(DataError, match=r"entry 0 must have doc, a text, and retrieval_idx"):
        CodeSearch().read(str(test))
    test.write_text('{"doc": 3}')
    with pytest.raises(DataError, match="must hold a JSON array"):
        CodeSearch().read(str(test))
    test.write_text("[\n{]")
    with pytest.raises(DataError, match=r"500\.json:2: no JSON"):
        CodeSearch().read(str(test))
    (tmp_path / "code_idx_map.txt").unlink()
    with pytest.raises(UsageError, match=r"code_idx_map\.txt: missing"):
        CodeSearch().read(str(test))
