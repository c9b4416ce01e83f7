"""Evaluation for people (a table) and for programs (a JSON file)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dipole.core.files import replace_text


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all. Not-a-number becomes null, as JSON has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def table(found: dict[str, dict[str, Any]]) -> Any:
    """A Rich table: task, metric (the primary one marked), figure, 95% interval, over how many items."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for title, side in (("task", "left"), ("metric", "left"), ("value", "right"), ("95% interval", "right"), ("over", "right")):
        shown.add_column(title, justify=side, overflow="fold")  # type: ignore[arg-type]
    for task, entry in found.items():
        over = f"{entry['counts'][entry['unit']]} {entry['unit']}"
        for place, metric in enumerate(entry["definition"]):
            low, high = entry["interval"].get(metric, (None, None))
            bounds = "" if low is None else f"{low:.4f} .. {high:.4f}" if low == low else "undefined"
            name = f"{metric} *" if metric == entry["primary_metric"] else metric
            shown.add_row("" if place else task, name, f"{entry[metric]:.4f}", bounds, "" if place else over)
    return shown


def remarks(entry: dict[str, Any]) -> list[str]:
    """What a reader should know about the figures: texts cut, items or judgements left out, notes."""
    said = list(entry["notes"])
    cut = entry["truncated"]
    if cut["texts"]:
        said.append(f"{cut['texts']} of {cut['of']} texts were cut to {cut['max_tokens']} tokens")
    return said + [f"{entry['counts'][key]} {text}" for key, text in REMARKS.items() if entry["counts"].get(key)]


# Counts that a reader should hear of where they are not 0.
REMARKS = {
    "queries_without_relevant": "queries without a relevant document were left out",
    "queries_without_judgements": "queries without a judgement were left out",
    "judged_queries_missing": "judged queries are not in the file of queries",
    "judgements_outside_corpus": "judgements name a document outside the corpus and count as misses",
    "self_matches_left_out": "queries' own documents were left out",
    "zero_vectors": "vectors are zero and have cosine 0 with everything",
}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value != value else value
