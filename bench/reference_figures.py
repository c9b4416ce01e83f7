"""Figures of the packaged all-MiniLM-L6-v2 with every kind of evaluation, beside published ones where these exist.

    python -m bench.reference_figures --data FOLDER [--only NAME ...]

FOLDER holds the public data sets by folder, as named below. Writes ``bench/results/reference_figures.json``; with ``--only``, the
other figures stay as they were. Exit code 1 where a figure is further from the published one than its tolerance.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import record
from dipole.evaluate.kind import make
from dipole.evaluate.report import write_json
from dipole.modality.text.load import load_encoder

MTEB = "MTEB's stored results for all-MiniLM-L6-v2 at revision 8b3219a (github.com/embeddings-benchmark/results), task {}"
NONE = "no published figure of this model under this protocol is known to us"


@dataclass(frozen=True)
class Figure:
    """One measurement. ``published``: metric -> (figure, tolerance)."""

    kind: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    source: str = NONE
    differs: str = ""  # how the protocol here differs from the published one
    seed: int = 0
    prepare: Callable[[Path, Path], str] | None = None  # (the data, an empty folder) -> the place to read


def _rows(place: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with open(place, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def short_texts(data: Path, folder: Path) -> str:
    """STTM's Tweet set: lines of texts beside lines of labels."""
    place = data / "clustering" / "sttm_short_text"
    texts, labels = ((place / name).read_text(encoding="utf-8").splitlines() for name in ("Tweet.txt", "Tweet_LABEL.txt"))
    rows = [(text, label.strip()) for text, label in zip(texts, labels, strict=False) if text.strip()]
    _rows(folder / "test.csv", ("text", "label"), rows)
    return str(folder)


def trec(data: Path, folder: Path) -> str:
    """SentEval's TREC: 'label text' a line, Latin-1."""
    for split in ("train", "test"):
        lines = (data / "classification" / "senteval_transfer" / f"TREC.{split}.all").read_text(encoding="latin-1").splitlines()
        _rows(folder / f"{split}.csv", ("text", "label"), [line.split(" ", 1)[::-1] for line in lines])
    return str(folder)


def held_out_intents(data: Path, folder: Path) -> str:
    """Banking77 with every fourth intent foreign: the training texts of the others are known, all test texts are asked about."""
    banking = data / "classification" / "banking77"
    rows = {}
    for split in ("train", "test"):
        with open(banking / f"{split}.csv", newline="", encoding="utf-8") as file:
            rows[split] = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    foreign = set(sorted({label for _, label in rows["train"]})[::4])
    _rows(folder / "reference.csv", ("text", "label"), [row for row in rows["train"] if row[1] not in foreign])
    _rows(folder / "in.csv", ("text",), [row[:1] for row in rows["test"] if row[1] not in foreign])
    _rows(folder / "out.csv", ("text",), [row[:1] for row in rows["test"] if row[1] in foreign])
    return str(folder)


def code_questions(data: Path, folder: Path) -> str:
    """CoSQA's labelled pairs of a query and a function."""
    entries = json.loads((data / "code" / "cosqa" / "qa" / "cosqa-dev.json").read_text(encoding="utf-8"))
    _rows(folder / "test.csv", ("sentence1", "sentence2", "label"), [(e["doc"], e["code"], e["label"]) for e in entries])
    return str(folder)


def abstracts(data: Path, folder: Path) -> str:
    """Every 20th of SciFact's abstracts."""
    lines = (data / "retrieval" / "scifact" / "beir" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[::20]
    (folder / "test.jsonl").write_text("".join(json.dumps({"document": json.loads(line)["text"]}) + "\n" for line in lines))
    return str(folder)


def _tatoeba(language: str, accuracy: float, f1: float) -> Figure:
    path = "+".join(f"parallel/tatoeba_v1/tatoeba.{language}-eng.{side}" for side in (language, "eng"))
    published = {"accuracy": (accuracy, 1e-9), "f1": (f1, 1e-6)}
    return Figure("bitext", path, published=published, source=MTEB.format(f"Tatoeba, {language}-eng"))


def _sts(year: int, spearman: float, tolerance: float, source: str) -> Figure:
    return Figure("sts", f"sts/sts12-16_stsb/STS{year}-en-test", published={"spearman": (spearman, tolerance)}, source=source)


BANKING = "classification/banking77"
FIGURES = {
    "sts-b test": Figure(
        "sts", "sts/sts12-16_stsb/STSBenchmark/sts-test.csv", {}, {"spearman": (0.8203247, 1e-5)}, MTEB.format("STSBenchmark, test")
    ),
    "sts12": _sts(12, 0.72369, 1e-4, MTEB.format("STS12")),
    "sts13": _sts(13, 0.8060317, 1e-4, MTEB.format("STS13")),
    "sts14": _sts(14, 0.7559, 1e-3, "MTEB (arXiv:2210.07316), table of results: 75.59"),
    "sts15": _sts(15, 0.8538962, 1e-4, MTEB.format("STS15")),
    "sts16": _sts(16, 0.7898945, 1e-4, MTEB.format("STS16")),
    "scifact": Figure(
        "retrieval", "retrieval/scifact/beir", {}, {"ndcg@10": (0.6451, 0.001)}, "MTEB (arXiv:2210.07316), table of results: 64.51"
    ),
    "banking77, 8 a class": Figure(
        "classification",
        BANKING,
        {"samples_per_label": 8, "experiments": 10},
        {"accuracy": (0.8004221, 0.0005), "macro_f1": (0.7937884, 0.0005)},
        MTEB.format("Banking77Classification"),
        seed=42,
    ),
    "banking77, all": Figure("classification", BANKING),
    "trec": Figure("classification", "", prepare=trec),
    "tatoeba italian": _tatoeba("ita", 0.118, 0.09896345214301576),
    "tatoeba french": _tatoeba("fra", 0.086, 0.08172449236978181),
    "tatoeba interlingua": _tatoeba("ina", 0.198, 0.17628451662532246),
    "tatoeba kashubian": _tatoeba("csb", 0.05533596837944664, 0.03779807227718013),
    "tatoeba swiss german": _tatoeba("gsw", 0.15384615384615385, 0.11327561327561327),
    "cosqa": Figure("code-search", "code/cosqa/search/cosqa-retrieval-test-500.json"),
    "cosqa pairs": Figure("pair-classification", "", prepare=code_questions),
    "trec-qa": Figure("reranking", "retrieval/trecqa_wang/test.csv"),
    "tweets": Figure("clustering", "", prepare=short_texts),
    "banking77, 5-way 5-shot": Figure("few-shot", BANKING),
    "banking77, zero-shot": Figure("zero-shot", f"{BANKING}/test.csv"),
    "banking77, held-out intents": Figure("out-of-domain", "", prepare=held_out_intents),
    "google analogies": Figure("analogies", "lexical/google_analogies/questions-words.txt"),
    "wordsim-353": Figure("word-similarity", "lexical/word_similarity/EN-WS-353-ALL.txt"),
    "simlex-999": Figure("word-similarity", "lexical/word_similarity/EN-SIMLEX-999.txt"),
    "scifact thresholds": Figure("threshold", "retrieval/scifact/beir"),
    "abstracts": Figure("position", "", prepare=abstracts),
    "sts-b test lengths": Figure("length-bias", "sts/sts12-16_stsb/STSBenchmark/sts-test.csv"),
}


def measure(figure: Figure, name: str, data: Path, encoder: Any, batch_size: int = 32) -> dict[str, Any]:
    """The kind's JSON entry, with what is published and whether it was reproduced."""
    with tempfile.TemporaryDirectory() as folder:
        kind = make(figure.kind, figure.options)
        places = "+".join(str(data / part) for part in figure.path.split("+"))
        task = kind.read(figure.prepare(data, Path(folder)) if figure.prepare else places, name)
        encoder.truncated.reset()
        started = time.perf_counter()
        found = kind(task, lambda items: encoder.encode(items, batch_size=batch_size), seed=figure.seed)
    entry = found.to_json() | {"options": dict(figure.options), "truncated": str(encoder.truncated)}
    entry |= {"seconds": round(time.perf_counter() - started, 1), "source": figure.source, "differs": figure.differs}
    if figure.published:
        entry["published"] = {metric: value for metric, (value, _) in figure.published.items()}
        entry["tolerance"] = {metric: tolerance for metric, (_, tolerance) in figure.published.items()}
        entry["reproduced"] = all(abs(found.metrics[m] - value) <= tolerance for m, (value, tolerance) in figure.published.items())
    return entry


def main() -> int:
    """Measure, compare, write after every figure; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("DIPOLE_DATA", str(Path(__file__).parents[1].parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), metavar="NAME", help=", ".join(FIGURES))
    given = parser.parse_args()
    place = record.RESULTS / "reference_figures.json"
    encoder = load_encoder("minilm")
    figures: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))["figures"] if given.only and place.exists() else {}
    for name in given.only or FIGURES:
        figures[name] = entry = measure(FIGURES[name], name, given.data, encoder)
        beside = f", published {entry['published']}, reproduced: {entry['reproduced']}" if "published" in entry else ""
        print(f"{name}: {entry['primary_metric']} {entry[entry['primary_metric']]:.4f}, {entry['seconds']} s{beside}", flush=True)
        held = record.circumstances("transformers", "sentence-transformers", "ir-measures", "scipy", "scikit-learn")
        held["command"] = "python -m bench.reference_figures"
        ordered = {known: figures[known] for known in FIGURES if known in figures}
        write_json(place, held | {"model": {"name": "minilm", "identity": encoder.identity}, "figures": ordered})
    return 0 if all(figure.get("reproduced", True) for figure in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
