"""Evaluate a model on tasks named in text, as the command line does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dipole.core.errors import UnknownNameError, UsageError
from dipole.evaluate.result import Result
from dipole.evaluate.retrieval import evaluate_retrieval
from dipole.evaluate.similarity import SimilarityTask, evaluate_similarity, read_similarity
from dipole.evaluate.task import RetrievalTask, read_task

KINDS: dict[str, Callable[[str, str], SimilarityTask | RetrievalTask]] = {
    "sts": lambda place, name: read_similarity(place, name),
    "retrieval": lambda place, name: read_task(place, name),
}


def parse_task(text: str) -> tuple[str, str, str]:
    """``KIND:PLACE`` or ``NAME=KIND:PLACE`` -> (name, kind, place). Unnamed, the whole text is the name.

    >>> parse_task("sts:dev.tsv"), parse_task("dev=sts:dev.tsv")
    (('sts:dev.tsv', 'sts', 'dev.tsv'), ('dev', 'sts', 'dev.tsv'))
    """
    head, colon, place = text.partition(":")
    name, equals, kind = head.rpartition("=")
    if not colon or not place:
        raise UsageError(f"task {text!r}: write KIND:PLACE or NAME=KIND:PLACE, for example sts:pairs.tsv or retrieval:folder")
    if kind not in KINDS:
        raise UnknownNameError("kind of task", kind, KINDS, f"task {text!r}")
    return (name if equals else text), kind, place


def read_tasks(texts: Sequence[str]) -> list[SimilarityTask | RetrievalTask]:
    """The tasks, read and checked before any model is loaded. Raises UsageError where two share a name."""
    parsed = [parse_task(text) for text in texts]
    names = [name for name, _, _ in parsed]
    if not names:
        raise UsageError("name at least one task, for example: --task sts:pairs.tsv")
    if len(set(names)) != len(names):
        raise UsageError(f"the tasks must have different names, got {', '.join(names)}; name them: NAME=KIND:PLACE")
    return [KINDS[kind](place, name) for name, kind, place in parsed]


def evaluate_encoder(
    encoder: Any,
    tasks: Sequence[SimilarityTask | RetrievalTask],
    *,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
    told: Callable[[Result, dict[str, Any]], None] | None = None,
    per_query: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Task name -> figures, intervals, counts, policy, model, seconds, truncated, as JSON can hold them.

    ``told`` is called after each task; ``per_query`` is a folder for one Parquet file a task.
    """
    found: dict[str, dict[str, Any]] = {}
    identity = encoder.identity

    def encode(side: str) -> Callable[[Sequence[str]], Any]:
        return lambda texts: encoder.encode(list(texts), batch_size=batch_size, progress=progress, side=side)

    for task in tasks:
        started = time.perf_counter()
        encoder.truncated.reset()
        if isinstance(task, RetrievalTask):
            result = evaluate_retrieval(encode("queries"), task, encode("keys"), seed=seed)
        else:
            result = evaluate_similarity(encode(""), task, seed=seed)
        entry = result.to_json() | {
            "model": identity,
            "seconds": round(time.perf_counter() - started, 2),
            "truncated": {"texts": int(encoder.truncated), "of": encoder.truncated.seen, "max_tokens": encoder.truncated.max_tokens},
        }
        found[task.name] = entry
        if per_query is not None:
            entry["per_query"] = str(result.write_per_query(per_query))
        if told is not None:
            told(result, entry)
    return found
