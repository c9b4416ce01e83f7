"""Retrieval metrics against hand-written formulas, and the stated policies one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ir_measures")

from dipole.core.errors import DataError, UsageError
from dipole.evaluate.kinds.retrieval import Retrieval
from dipole.evaluate.task import RetrievalTask, read_qrels, read_task


def table(vectors: Mapping[str, Sequence[float]]) -> Callable[[Sequence[str]], torch.Tensor]:
    return lambda texts: torch.tensor([vectors[text] for text in texts])


def random_task(seed: int, queries: int = 25, documents: int = 150) -> tuple[RetrievalTask, Callable[[Sequence[str]], torch.Tensor]]:
    chance = np.random.default_rng(seed)
    vectors = {f"t{i}": chance.normal(size=8).tolist() for i in range(queries + documents)}
    texts = list(vectors)
    ids = [f"d{i}" for i in range(documents)]
    relevant = {
        f"q{i}": {ids[j]: int(chance.integers(0, 4)) for j in chance.choice(documents, int(chance.integers(1, 9)), replace=False)}
        for i in range(queries)
    }
    task = RetrievalTask("random", [f"q{i}" for i in range(queries)], texts[:queries], ids, texts[queries:], relevant)
    return task, table(vectors)


def oracle(task: RetrievalTask, encode: Callable[[Sequence[str]], torch.Tensor]) -> dict[str, list[float]]:
    """The definitions, written as loops."""
    found: dict[str, list[float]] = {name: [] for name in Retrieval().definitions()}
    for query, text in zip(task.query_ids, task.queries, strict=True):
        judged = {d: g for d, g in task.relevant[query].items() if g > 0}
        if not judged:
            continue
        cosines = torch.nn.functional.cosine_similarity(encode([text]), encode(task.documents))
        ranking = [task.document_ids[i] for i in sorted(range(len(cosines)), key=lambda i: (-float(cosines[i]), i))]
        gains = [judged.get(d, 0) for d in ranking]
        ideal = sorted(judged.values(), reverse=True)
        dcg = sum(g / math.log2(r + 1) for r, g in enumerate(gains[:10], 1))
        found["ndcg@10"].append(dcg / sum(g / math.log2(r + 1) for r, g in enumerate(ideal[:10], 1)))
        found["mrr@10"].append(next((1 / r for r, g in enumerate(gains[:10], 1) if g), 0.0))
        for k in (1, 10, 100):
            found[f"recall@{k}"].append(sum(g > 0 for g in gains[:k]) / len(judged))
        hits = [r for r, g in enumerate(gains, 1) if g]
        found["map"].append(sum((n / r) for n, r in enumerate(hits, 1)) / len(judged))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_metrics_against_loops(seed: int) -> None:
    task, encode = random_task(seed)
    result = Retrieval()(task, encode, samples=200)
    wanted = oracle(task, encode)
    assert set(result.metrics) == {"ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100", "map"}
    for name, values in wanted.items():
        np.testing.assert_allclose(result.per_item[name], values, atol=1e-6, err_msg=name)
        assert result.metrics[name] == pytest.approx(np.mean(values))
        low, high = result.intervals[name]
        assert low <= result.metrics[name] <= high


def test_graded_relevance_counts() -> None:
    encode = table({"q": [1.0, 0.0], "good": [0.8, 0.6], "best": [0.6, 0.8]})
    task = RetrievalTask("graded", ["1"], ["q"], ["a", "b"], ["good", "best"], {"1": {"a": 1, "b": 2}})
    wanted = (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    assert Retrieval()(task, encode).metrics["ndcg@10"] == pytest.approx(wanted)


def test_ties_go_to_the_earlier_document() -> None:
    encode = table({"q": [1.0, 0.0], "x": [2.0, 0.0], "y": [3.0, 0.0]})
    for names, rank in ((["x", "y"], 2), (["y", "x"], 1)):
        task = RetrievalTask("ties", ["1"], ["q"], names, names, {"1": {"y": 1}})
        assert Retrieval()(task, encode).per_item["first_relevant_rank"] == [rank]


def test_a_querys_own_document_is_left_out_unless_judged() -> None:
    encode = table({"q": [1.0, 0.0], "T q": [1.0, 0.1], "b": [0.0, 1.0]})
    task = RetrievalTask("self", ["1"], ["q"], ["1", "2"], ["T q", "b"], {"1": {"2": 1}})
    result = Retrieval()(task, encode)
    assert (result.metrics["mrr@10"], result.counts["self_matches_left_out"]) == (1.0, 1)
    judged = RetrievalTask("self", ["1"], ["q"], ["1", "2"], ["T q", "b"], {"1": {"1": 1}})
    assert Retrieval()(judged, encode).counts["self_matches_left_out"] == 0
    by_chance = RetrievalTask("chance", ["1"], ["q"], ["1", "2"], ["b", "T q"], {"1": {"2": 1}})
    assert Retrieval()(by_chance, encode).counts["self_matches_left_out"] == 0


def test_queries_without_relevant_documents_are_counted_and_left_out() -> None:
    encode = table({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    task = RetrievalTask("none", ["1", "2"], ["a", "b"], ["a", "b"], ["a", "b"], {"1": {"a": 1}, "2": {"a": 0}})
    result = Retrieval()(task, encode)
    assert (result.counts["queries"], result.counts["queries_without_relevant"], result.metrics["mrr@10"]) == (1, 1, 1.0)
    with pytest.raises(DataError, match="no query has a relevant document"):
        Retrieval()(RetrievalTask("none", ["2"], ["b"], ["a", "b"], ["a", "b"], {"2": {"a": 0}}), encode)


def test_a_corpus_of_one_document_works_and_says_so() -> None:
    task = RetrievalTask.from_pairs([("a", "b")])
    result = Retrieval()(task, table({"a": [1.0, 0.0], "b": [0.0, 1.0]}))
    assert result.metrics["recall@10"] == 1.0
    assert "one document" in result.notes[0]


def test_nan_vectors_are_refused() -> None:
    task = RetrievalTask.from_pairs([("a", "b"), ("c", "d")])
    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 1.0], "d": [math.nan, 1.0]}
    with pytest.raises(DataError, match=r"1 of 2 vectors of the documents hold NaN.*item 1.*'d'"):
        Retrieval()(task, table(vectors))
    with pytest.raises(DataError, match=r"one vector per item"):
        Retrieval()(task, lambda texts: torch.ones(1, 2))


def test_pairs_with_equal_texts_are_one_document() -> None:
    task = RetrievalTask.from_pairs([{"anchor": "a", "positive": ["x", "y"]}, {"anchor": "b", "positive": "x"}, ("a", "z")])
    assert (list(task.queries), list(task.documents)) == (["a", "b"], ["x", "y", "z"])
    assert {task.queries[int(q[1])]: sorted(task.documents[int(d[1])] for d in ds) for q, ds in task.relevant.items()} == {
        "a": ["x", "y", "z"],
        "b": ["x"],
    }


def beir(folder: Path, qrels: str = "query-id\tcorpus-id\tscore\n1\ta\t1\n1\tgone\t1\n9\ta\t1\n", split: str = "test") -> Path:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    documents = [{"_id": "a", "title": "T", "text": "x"}, {"_id": "b", "title": "", "text": "y"}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    (folder / "queries.jsonl").write_text('{"_id": "1", "text": "q"}\n{"_id": "2", "text": "r"}\n')
    (folder / "qrels" / f"{split}.tsv").write_text(qrels)
    return folder


def test_beir_folder_title_and_text_and_odd_judgements(tmp_path: Path) -> None:
    task = read_task(beir(tmp_path))
    assert list(task.documents) == ["T x", "y"]
    assert list(task.query_ids) == ["1"]
    assert task.counts == {"queries_without_judgements": 1, "judged_queries_missing": 1, "judgements_outside_corpus": 1}
    result = Retrieval()(task, table({"q": [1.0, 0.0], "T x": [1.0, 0.1], "y": [0.0, 1.0]}))
    assert result.metrics["recall@10"] == 0.5  # the document outside the corpus stays a miss
    assert result.counts["judgements_outside_corpus"] == 1


def test_splits(tmp_path: Path) -> None:
    beir(tmp_path, "1\tb\t1\n", "train")
    assert read_task(tmp_path).relevant == {"1": {"b": 1}}  # the only one
    beir(tmp_path, "2\ta\t1\n", "other")
    with pytest.raises(UsageError, match=r"which split\?; there are other, train"):
        read_task(tmp_path)
    assert read_task(f"{tmp_path}@train").relevant == {"1": {"b": 1}}
    with pytest.raises(UsageError, match="no split 'dev'"):
        read_task(f"{tmp_path}@dev")


def test_trec_judgements_and_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "qrels.txt"
    path.write_text("1 0 a 2\n1 0 b 0\n")
    assert read_qrels(path) == {"1": {"a": 2, "b": 0}}
    path.write_text("query-id\tcorpus-id\tscore\n1\ta\thigh\n")
    with pytest.raises(DataError, match=r"qrels\.txt:2: a grade must be a whole number"):
        read_qrels(path)
    path.write_text("1 a\n")
    with pytest.raises(DataError, match=r"qrels\.txt:1: a judgement must have"):
        read_qrels(path)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder or file"):
        read_task(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"corpus\.jsonl is missing"):
        read_task(tmp_path)
    beir(tmp_path)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "x"}\n{"text": "y"}\n')
    with pytest.raises(DataError, match=r"corpus\.jsonl:2, column '_id'"):
        read_task(tmp_path)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n')
    with pytest.raises(DataError, match="_ids must differ"):
        read_task(tmp_path)


def test_a_file_of_pairs_is_a_task(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("query,answer\na,x\nb,y\n")
    assert list(read_task(tmp_path / "pairs.csv").documents) == ["x", "y"]


def test_per_item_scores_on_disk(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    task, encode = random_task(9)
    result = Retrieval()(task, encode)
    held = pq.read_table(result.write_per_item(tmp_path)).to_pydict()
    assert held["query_id"] == result.per_item["query_id"]
    assert np.mean(held["ndcg@10"]) == pytest.approx(result.metrics["ndcg@10"])
    assert [p.name for p in tmp_path.iterdir()] == ["random.parquet"]
    json.dumps(result.to_json(), allow_nan=False)
