"""Reranking against trec_eval where nothing ties, and against all orders where something does."""

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("ir_measures")

import ir_measures as measures
from sklearn.metrics import ndcg_score

from dipole.core.errors import DataError
from dipole.evaluate import tied
from dipole.evaluate.kinds.reranking import Reranking, RerankingTask
from tests.evaluate.cases import jsonl


def random_task(seed, queries=20):
    chance = np.random.default_rng(seed)
    sizes = chance.integers(3, 15, queries)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    table = chance.normal(size=(starts[-1] + queries, 6))
    candidates = [list(range(a, b)) for a, b in itertools.pairwise(starts)]
    grades = [chance.integers(0, 4, s).tolist() for s in sizes]
    grades = [[1, *g[1:]] for g in grades]
    return RerankingTask("r", list(range(starts[-1], starts[-1] + queries)), candidates, grades, {}), table


@pytest.mark.parametrize("seed", range(3))
def test_without_ties_figures_are_trec_evals(seed):
    task, table = random_task(seed)
    found = Reranking(depth=5)(task, lambda items: table[items], samples=100)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    run = [
        measures.ScoredDoc(str(q), str(d), float(unit[q] @ unit[d]))
        for q, ds in zip(task.queries, task.candidates, strict=True)
        for d in ds
    ]
    judged = [
        measures.Qrel(str(q), str(d), g)
        for q, ds, gs in zip(task.queries, task.candidates, task.grades, strict=True)
        for d, g in zip(ds, gs, strict=True)
    ]
    for name, code in (("map", "AP"), ("mrr", "RR"), ("ndcg@5", "nDCG@5")):
        values = {v.query_id: v.value for v in measures.iter_calc([measures.parse_measure(code)], judged, run)}
        np.testing.assert_allclose(found.per_item[name], [values[str(q)] for q in task.queries], atol=1e-6, err_msg=name)
        assert found.metrics[name] == pytest.approx(np.mean(list(values.values())), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_ties_are_the_mean_over_all_orders(seed):
    chance = np.random.default_rng(seed)
    scores, grades = chance.integers(0, 3, 6).astype(float), chance.integers(0, 3, 6)
    grades[chance.integers(6)] = 2
    values = []
    for order in itertools.permutations(range(6)):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            gains = [int(grades[i]) for i in order]
            hits = [r for r, g in enumerate(gains, 1) if g]
            ap = sum(n / r for n, r in enumerate(hits, 1)) / len(hits)
            dcg, ideal = (sum(g / np.log2(r + 1) for r, g in enumerate(several[:4], 1)) for several in (gains, sorted(gains)[::-1]))
            values.append((ap, 1 / hits[0], dcg / ideal))
    ranked = tied.groups(scores, grades.tolist())
    found = tied.average_precision(ranked), tied.reciprocal_rank(ranked), tied.ndcg(ranked, 4)
    assert found == pytest.approx(np.mean(values, axis=0), rel=1e-12)
    assert tied.ndcg(ranked, 4) == pytest.approx(ndcg_score([grades], [scores], k=4), rel=1e-12)


def test_an_encoder_that_says_nothing_gains_nothing_from_the_order_of_the_file():
    task = RerankingTask("r", ["q"], [["good", "a", "b", "c"]], [[1, 0, 0, 0]], {})
    found = Reranking()(task, lambda items: torch.ones(len(items), 3), samples=10)
    assert found.metrics["mrr"] == found.metrics["map"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found.counts["queries_with_ties"] == 1


def test_files_of_both_forms_and_repeated_candidates(tmp_path):
    jsonl(
        tmp_path / "lists.jsonl",
        [{"query": "q", "positive": ["a", "b"], "negative": ["c", "a"]}, {"query": "r", "positive": "a", "negative": []}],
    )
    task = Reranking().read(str(tmp_path / "lists.jsonl"))
    assert (task.queries, task.candidates, task.grades) == (["q", "r"], [["a", "b", "c"], ["a"]], [[1, 1, 0], [1]])
    assert task.counts == {"candidates_repeated": 1}
    (tmp_path / "rows.csv").write_text("qtext,label,atext\nq,0,c\nq,2,a\nr,1,b\nq,1,a\n")
    task = Reranking().read(str(tmp_path / "rows.csv"))
    assert (task.queries, task.candidates, task.grades) == (["q", "r"], [["c", "a"], ["b"]], [[0, 2], [1]])
    (tmp_path / "rows.csv").write_text("query,document,score\nq,c,0.5\n")
    with pytest.raises(DataError, match=r"rows\.csv:2, column 'score': a grade must be a whole number \(got '0.5'\)"):
        Reranking().read(str(tmp_path / "rows.csv"))
    (tmp_path / "rows.csv").write_text("query,document\nq,c\n")
    with pytest.raises(DataError, match=r"no column holds the negative"):
        Reranking().read(str(tmp_path / "rows.csv"))


def test_queries_without_relevant_candidates_are_left_out_and_counted():
    task = RerankingTask("r", ["q", "r"], [["a", "b"], ["a", "b"]], [[1, 0], [0, -1]], {})
    found = Reranking()(task, lambda items: torch.eye(4)[: len(items)] + 0.1, samples=10)
    assert (found.counts["queries"], found.counts["queries_without_relevant"]) == (1, 1)
