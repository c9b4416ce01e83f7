"""A million vectors in one collection on one machine: what building, opening and asking cost, in time, memory and disk.

python -m bench.million --data FOLDER                          a million, written to bench/results/million.json; 15 minutes on two cores
python -m bench.million --data FOLDER --rows 100000 --dry      a try, printed only

The vectors: paragraphs of books (``text/classic_books`` under --data), cut to 200 characters, are encoded by the packaged MiniLM;
each item is one of these vectors moved by noise that has the covariance of all of them, so that there are clusters and a decaying
spectrum. The queries are vectors of paragraphs held out. Building and serving are processes of their own, and memory is their
high-water mark. Of the first 100,000 items every kind of index is built beside.
"""

from __future__ import annotations

import argparse
import datetime
import json
import lzma
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import memory
from bench.record import circumstances, write
from dipole.core.errors import UsageError
from dipole.search.approximate import KINDS
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.search.table import Block

SEEDS, QUERIES, NOISE = 10_000, 500, 0.6
BLOCK, SOME = 8192, 100_000
TAGS = ("letters", "history", "travel", "science", "law")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", default="ivf-rq")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--work", type=Path, help="keep the vectors and the collection here")
    parser.add_argument("--dry", action="store_true", help="print, write no result")
    parser.add_argument("--step", choices=("build", "serve", "kinds"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps({"build": build, "serve": serve, "kinds": kinds}[asked.step](asked)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = asked.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        made = json.loads((work / "made.json").read_text()) if (work / "made.json").exists() else make(asked, work)
        shutil.rmtree(work / "collection", ignore_errors=True)
        steps = {step: _process(asked, work, step) for step in ("build", "serve", "kinds")}
        command = {"command": "python -m bench.million --data FOLDER"}
        result = circumstances("lancedb", "pyarrow") | command | {"rows": asked.rows, "dimension": 384, "vectors": made, **steps}
    print(json.dumps(result, indent=1))
    if not asked.dry:
        write("million.json", result)
    return 0


def encode(asked: argparse.Namespace, work: Path) -> dict[str, Any]:
    """The vectors of real texts, and how long they took."""
    from dipole.modality.text.load import load_encoder

    with lzma.open(asked.data / "text" / "classic_books" / "paragraphs.txt.xz", "rt", encoding="utf-8") as lines:
        texts = [line.strip()[:200] for _, line in zip(range(SEEDS + QUERIES), lines, strict=False)]
    encoder = load_encoder("minilm")
    encoder.encode(texts[:64])
    began = time.perf_counter()
    vectors = encoder.encode(texts, side="keys")
    seconds = time.perf_counter() - began
    tokens = encoder.tokenizer(texts, truncation=True, max_length=encoder.limit)["input_ids"]
    np.save(work / "queries.npy", vectors[SEEDS:].numpy())
    (work / "texts.json").write_text(json.dumps(texts[:SEEDS]))
    np.save(work / "seeds.npy", vectors[:SEEDS].numpy())
    return {
        "texts": len(texts),
        "seconds": round(seconds, 2),
        "texts a second": round(len(texts) / seconds, 1),
        "tokens a text": round(sum(map(len, tokens)) / len(tokens), 1),
        "threads": torch.get_num_threads(),
    }


def make(asked: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Encode the paragraphs, draw the items."""
    if not (work / "encoded.json").exists():
        (work / "encoded.json").write_text(json.dumps(encode(asked, work)))
    seeds = np.load(work / "seeds.npy")
    values, axes = np.linalg.eigh(np.cov(seeds.T))
    spread = (axes * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
    spread *= NOISE / np.sqrt(np.maximum(values, 0).sum())
    random_ = np.random.default_rng(0)
    items = np.lib.format.open_memmap(work / "items.npy", "w+", np.float32, (asked.rows, seeds.shape[1]))
    origin = random_.integers(0, SEEDS, asked.rows)
    np.save(work / "origin.npy", origin)
    for start in range(0, asked.rows, BLOCK):
        chosen = seeds[origin[start : start + BLOCK]]
        moved = chosen + random_.standard_normal(chosen.shape, np.float32) @ spread
        items[start : start + BLOCK] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    items.flush()
    made = {
        "from": f"{SEEDS} paragraphs of books, cut to 200 characters, by minilm; noise of {NOISE} times their length, their covariance",
        "queries": f"{QUERIES} paragraphs held out",
        "encoded": json.loads((work / "encoded.json").read_text()),
    }
    (work / "made.json").write_text(json.dumps(made))
    return made


def blocks(work: Path, rows: int) -> Iterator[Block]:
    """The first ``rows`` items with documents as papers have them."""
    items = np.load(work / "items.npy", mmap_mode="r")[:rows]
    origin, texts = np.load(work / "origin.npy"), json.loads((work / "texts.json").read_text())
    random_, first = random.Random(0), datetime.date(2020, 1, 1)
    for start in range(0, len(items), BLOCK):
        vectors = torch.from_numpy(np.array(items[start : start + BLOCK]))
        documents = [
            Document(
                f"item-{start + place}",
                texts[origin[start + place]],
                date=first + datetime.timedelta(days=random_.randrange(2000)),
                votes=random_.randrange(100),
                tags=(random_.choice(TAGS),),
            )
            for place in range(len(vectors))
        ]
        yield Block(documents, vectors)


def build(asked: argparse.Namespace) -> dict[str, Any]:
    """Store the items, index them."""
    began = time.perf_counter()
    collection = Collection.store(asked.work / "collection", blocks(asked.work, asked.rows), "bench")
    stored, disk = time.perf_counter() - began, _disk(collection.folder)
    began = time.perf_counter()
    collection, built = collection.index(asked.kind, asked.recall, told=lambda text: print(text, file=sys.stderr))
    indexed = time.perf_counter() - began
    return {
        "store seconds": round(stored, 1),
        "index seconds": round(indexed, 1),
        "of which building the index": built.seconds,
        "seconds": round(stored + indexed, 1),
        "index": dict(collection.manifest.index),
        "bytes on disk": {"texts, words and vectors": disk, "index": _disk(collection.folder) - disk},
        "peak bytes": memory.peak(),
    }


def serve(asked: argparse.Namespace) -> dict[str, Any]:
    """Open and ask, one query at a time, answers with their documents."""
    began = time.perf_counter()
    collection = Collection.open(asked.work / "collection")
    queries = torch.from_numpy(np.load(asked.work / "queries.npy"))
    collection.search_vectors(queries[:1])
    opened = time.perf_counter() - began
    found, times = _timed(collection, queries, exact=False)
    found, times = _timed(collection, queries, exact=False)  # once the pages are in memory
    serving = memory.peak()
    _, slow = _timed(collection, queries[:20], exact=True)
    exact = [{hit.id for hit in hits} for hits in collection.search_vectors(queries, 10, exact=True)]
    scores = [[hit.score for hit in hits] for hits in found]
    right = [len({hit.id for hit in hits} & best) / 10 for hits, best in zip(found, exact, strict=True)]
    return {
        "queries": len(queries),
        "opening and the first query, seconds": round(opened, 3),
        "recall@10": round(float(np.mean(right)), 4),
        "milliseconds": _quantiles(times),
        "exact, milliseconds": _quantiles(slow),
        "mean cosine of the first and the tenth": [round(float(np.mean([s[place] for s in scores])), 3) for place in (0, 9)],
        "peak bytes": serving,
        "peak bytes with exact search": memory.peak(),
    }


def kinds(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Every kind of index over the first 100,000 items: time, bytes, and recall on the queries held out."""
    rows, found = min(asked.rows, SOME), []
    collection = Collection.store(asked.work / "some", blocks(asked.work, rows), "bench")
    queries = torch.from_numpy(np.load(asked.work / "queries.npy"))[:100]
    best = [{hit.id for hit in hits} for hits in collection.search_vectors(queries, 10, exact=True)]
    for kind in KINDS:
        before = _disk(collection.folder)
        try:
            collection, built = collection.index(kind, asked.recall)
        except UsageError as error:
            found.append({"kind": kind, "rows": rows, "refused": str(error).partition(": ")[2]})
            continue
        hits, times = _timed(collection, queries, exact=False)
        right = [len({hit.id for hit in h} & b) / 10 for h, b in zip(hits, best, strict=True)]
        found.append(
            {
                "kind": kind,
                "rows": rows,
                "build seconds": built.seconds,
                "bytes an item": round((_disk(collection.folder) - before) / rows, 1),
                "probes": built.probes,
                "cells": built.cells,
                "recall@10, drawn": built.recall,
                "recall@10": round(float(np.mean(right)), 4),
                "milliseconds": _quantiles(times),
            }
        )
    shutil.rmtree(asked.work / "some")
    return found


def _timed(collection: Collection, queries: torch.Tensor, exact: bool) -> tuple[list[Any], list[float]]:
    found, times = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(collection.search_vectors(query[None], 10, exact=exact)[0])
        times.append(time.perf_counter() - began)
    return found, times


def _quantiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": round(1000 * float(np.percentile(seconds, q)), 2) for q in (50, 95, 99)}


def _disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _process(asked: argparse.Namespace, work: Path, step: str) -> Any:
    given = ["--data", str(asked.data), "--rows", str(asked.rows), "--kind", asked.kind, "--recall", str(asked.recall), "--work", str(work)]
    done = subprocess.run([sys.executable, "-m", "bench.million", "--step", step, *given], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
