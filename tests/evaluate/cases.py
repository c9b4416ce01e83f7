"""A small task of every kind, as files, for the contract that all kinds keep."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

ANIMALS = ["a cat sleeps", "the cat runs", "a dog sleeps", "the dog runs", "a small cat", "a small dog", "the old dog", "the old cat"]
FOODS = ["hot soup", "cold soup", "fresh bread", "old bread", "hot bread", "fresh cold soup", "some soup", "some bread"]


def bag(texts: Sequence[Any]) -> torch.Tensor:
    """(N, 24) the sum of fixed random vectors of the words: texts that share words are close."""
    assert all(isinstance(text, str) for text in texts)
    words = [[np.random.default_rng(zlib.crc32(word.encode())).normal(size=24) for word in text.lower().split()] for text in texts]
    return torch.tensor(np.stack([np.sum(vectors, axis=0) for vectors in words])).float()


@dataclass(frozen=True)
class Case:
    """``write`` makes the files in a folder and returns the place to read; ``options`` of the kind; ``single`` a file that has one
    class only, or nothing to compare, where that is refused.
    """

    write: Callable[[Path], Path | str]
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: Callable[[Path], Path | str] | None = None
    says: str = ""
    constant: str = ""  # what is said where all vectors are equal and the measure is undefined
    draws: bool = False  # whether figures, and not only intervals, depend on the seed


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scored(folder: Path) -> Path:
    pairs = [(a, b) for i, a in enumerate(ANIMALS) for b in ANIMALS[i + 1 : i + 4]]
    rows = [f"{a}\t{b} {'very ' * (n % 3)}now\t{len({*a.split()} & {*b.split()})}" for n, (a, b) in enumerate(pairs)]
    (folder / "sts.tsv").write_text("sentence1\tsentence2\tscore\n" + "\n".join(rows) + "\n")
    return folder / "sts.tsv"


def flat(folder: Path) -> Path:
    (folder / "sts.tsv").write_text("a b\tc\t1\nd\te f\t1\ng\th\t1\n")
    return folder / "sts.tsv"


def beir(folder: Path) -> Path:
    documents = ANIMALS + FOODS
    jsonl(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(documents)])
    jsonl(folder / "queries.jsonl", [{"_id": f"q{i}", "text": text.split()[-1]} for i, text in enumerate(documents[:12])])
    (folder / "qrels").mkdir()
    lines = [f"q{i}\td{i}\t2" for i in range(12)] + [f"q{i}\td{i + 1}\t1" for i in range(5)] + ["q0\tgone\t1"]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return folder


def irrelevant(folder: Path) -> Path:
    beir(folder)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t0\n")
    return folder


def rows_of(texts: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [{"text": text, "label": label} for label, several in texts.items() for text in several]


def one_file(folder: Path) -> Path:
    return jsonl(folder / "test.jsonl", rows_of({"animal": ANIMALS, "food": FOODS}))


def one_class(folder: Path) -> Path:
    return jsonl(folder / "test.jsonl", rows_of({"animal": ANIMALS}))


def train_and_test(folder: Path) -> Path:
    jsonl(folder / "train.jsonl", rows_of({"animal": ANIMALS[:4], "food": FOODS[:4]}))
    jsonl(folder / "test.jsonl", rows_of({"animal": ANIMALS[4:], "food": FOODS[4:]}))
    return folder


def pair_file(folder: Path) -> Path:
    rows = [{"sentence1": a, "sentence2": b, "label": int(a in ANIMALS and b in ANIMALS)} for a in ANIMALS for b in ANIMALS[:2] + FOODS[:2]]
    return jsonl(folder / "test.jsonl", rows)


def pairs_of_one_class(folder: Path) -> Path:
    return jsonl(folder / "test.jsonl", [{"sentence1": a, "sentence2": a, "label": 1} for a in ANIMALS])


def candidates(folder: Path) -> Path:
    rows = [{"query": text.split()[-1] + " " + str(i), "positive": [text], "negative": FOODS[:4]} for i, text in enumerate(ANIMALS)]
    return jsonl(folder / "test.jsonl", rows)


def only_negatives(folder: Path) -> Path:
    return jsonl(folder / "test.jsonl", [{"query": "q", "positive": [], "negative": ["a", "b"]}])


def translations(folder: Path) -> str:
    (folder / "a").write_text("\n".join(ANIMALS + FOODS) + "\n")
    (folder / "b").write_text("\n".join(f"{text} indeed" for text in ANIMALS + FOODS) + "\n")
    return f"{folder / 'a'}+{folder / 'b'}"


def uneven(folder: Path) -> str:
    translations(folder)
    (folder / "b").write_text("one line\n")
    return f"{folder / 'a'}+{folder / 'b'}"


def questions(folder: Path) -> Path:
    lines = [": opposites", "hot cold old fresh", "cold hot fresh old", ": animals", "cat cats dog dogs", "dog dogs cat cats"]
    (folder / "questions.txt").write_text("\n".join(lines) + "\n")
    return folder / "questions.txt"


def three_words(folder: Path) -> Path:
    (folder / "questions.txt").write_text("hot cold old fresh\nhot cold\n")
    return folder / "questions.txt"


def words(folder: Path) -> Path:
    (folder / "words.txt").write_text("cat\tcat dog\t8\ndog\tcat dog\t7.5\nsoup\tbread\t4\nhot\tdog\t0.5\nold\told bread\t5\n")
    return folder / "words.txt"


def functions(folder: Path) -> Path:
    return jsonl(folder / "pairs.jsonl", [{"docstring": f"{a} now", "code": f"def f ( ) : return {a}"} for a in ANIMALS + FOODS])


def domains(folder: Path) -> Path:
    jsonl(folder / "reference.jsonl", rows_of({"cat": ANIMALS[:2], "dog": ANIMALS[2:4]}))
    jsonl(folder / "in.jsonl", [{"text": text} for text in ANIMALS[4:]])
    jsonl(folder / "out.jsonl", [{"text": text} for text in FOODS])
    return folder


def no_foreigners(folder: Path) -> Path:
    domains(folder)
    (folder / "out.jsonl").unlink()
    return folder


def long_documents(folder: Path) -> Path:
    rows = []
    for i, text in enumerate(ANIMALS):
        rest = [f"{f} {i} {n}" for n, f in enumerate(FOODS[:5])]
        rest.insert(i % 6, text)
        rows.append({"query": text + " ?", "document": " . ".join(rest), "passage": text})
    return jsonl(folder / "documents.jsonl", rows)


def strange_passage(folder: Path) -> Path:
    return jsonl(folder / "documents.jsonl", [{"query": "q", "document": "a b c d e f", "passage": "z"}])


CASES: Mapping[str, Case] = {
    "analogies": Case(questions, refused=three_words, says=r"questions\.txt:2: a question must be four words"),
    "bitext": Case(translations, refused=uneven, says="as many lines"),
    "classification": Case(train_and_test, {"neighbours": 3}, one_class, "at least two classes"),
    "clustering": Case(one_file, {"runs": 2}, one_class, "at least two classes", "as many distinct vectors", draws=True),
    "code-search": Case(functions, refused=irrelevant, says="no query has a relevant document"),
    "few-shot": Case(one_file, {"ways": 2, "shots": 2, "queries": 3, "episodes": 20}, one_class, "at least two classes", draws=True),
    "length-bias": Case(scored, refused=flat, says="gold scores are all equal"),
    "out-of-domain": Case(domains, {"neighbours": 2}, no_foreigners, r"must hold out\.jsonl"),
    "pair-classification": Case(pair_file, refused=pairs_of_one_class, says="both classes"),
    "position": Case(long_documents, {"slots": 3}, strange_passage, r"documents\.jsonl:1, column 'passage'"),
    "reranking": Case(candidates, refused=only_negatives, says="no query has a relevant candidate"),
    "retrieval": Case(beir, refused=irrelevant, says="no query has a relevant document"),
    "sts": Case(scored, refused=flat, says="gold scores are all equal", constant="cosines are all equal"),
    "threshold": Case(beir, {"random": 4}, irrelevant, "no query has a relevant document", draws=True),
    "word-similarity": Case(words, refused=flat, says="gold scores are all equal", constant="cosines are all equal"),
    "zero-shot": Case(one_file, {"k": 1, "template": "{} | some {}"}, one_class, "at least two described classes"),
}
