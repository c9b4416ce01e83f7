"""What a run folder tells of its training: the log's curves, its alarms, and checkpoints in the plane of alignment and uniformity."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dipole import diagnostics
from dipole.core.errors import CheckpointError, DataError
from dipole.report.inputs import Items, Vectors, encode_items
from dipole.train import checkpoint as ckpt
from dipole.train.log import read

CURVES = ("loss", "log_candidates", "effective_rank", "rank_limit", "mean_cosine", "grad_norm", "learning_rate", "temperature")
PLANE_ROWS = 512
_GUESSING = ("infonce", "dcl", "supcon")  # whose loss is log N where nothing is known, up to 1 / N


def is_run(model: str) -> bool:
    """Whether the model is a run folder, finished or not."""
    return (Path(model).expanduser() / "log.jsonl").is_file()


def read_run(model: str) -> dict[str, Any]:
    """The curves as ``{name: [[steps], [values]]}``, alarms by step, and how the loss ended. Raises CheckpointError for an empty log."""
    folder = Path(model).expanduser()
    records = read(folder / "log.jsonl")
    if not records:
        raise CheckpointError(f"{folder / 'log.jsonl'}: holds no step yet; diagnose the run once it has begun")
    curves = {name: series for name in CURVES if (series := _series(records, name))[0]}
    known = [record for record in records if record.get("loss") is not None]
    last = known[-10:]
    with_n = [record for record in last if record.get("log_candidates")]
    loss = sum(record["loss"] for record in last) / len(last) if last else None
    level = sum(record["log_candidates"] for record in with_n) / len(with_n) if with_n else None
    return {
        "steps": int(records[-1]["step"]),
        "curves": curves,
        "alarms": [{"step": record["step"], "text": said} for record in records for said in record.get("alarms", ())],
        "last_loss": loss,
        "last_log_candidates": level,
        "loss_share": loss / level if loss is not None and level and _guesses(folder) else None,
        "rank_peak": _peak(curves),
        "plane": _plane_of_log(records),
        "plane_from": "log",
        "finished": (folder / "summary.json").is_file(),
    }


def plane_of_checkpoints(model: str, encoder: Any, items: Items, batch_size: int = 32) -> list[dict[str, float]]:
    """Alignment and uniformity of each checkpoint on at most 512 of these pairs. The encoder is left with the last one's weights."""
    folder = Path(model).expanduser()
    some = Items(items.anchors[:PLANE_ROWS], items.numbers[:PLANE_ROWS], items.positives[:PLANE_ROWS])
    found = []
    for step in ckpt.steps_in(folder):
        ckpt.restore_module(encoder, ckpt.load(folder, step).tensors["model"], str(ckpt.folder_of(folder, step)))
        found += _point(step, encode_items(encoder, some, batch_size))
    return found


def _point(step: int, seen: Vectors) -> list[dict[str, float]]:
    assert seen.positives is not None
    try:
        alignment = diagnostics.alignment(seen.anchors, seen.positives)
        return [{"step": float(step), "alignment": alignment, "uniformity": float(diagnostics.uniformity(seen.anchors))}]
    except DataError:
        return []


def _plane_of_log(records: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    names = ("step", "alignment", "uniformity")
    return [{name: float(record[name]) for name in names} for record in records if all(name in record for name in names)]


def _series(records: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    held = [(int(record["step"]), float(record[name])) for record in records if record.get(name) is not None]
    return [step for step, _ in held], [value for _, value in held]


def _guesses(folder: Path) -> bool:
    """Whether the run's one loss is such that guessing costs log N."""
    try:
        parts = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))["parts"]
        losses = [*parts["losses"], *parts.get("regularizers", [])]
        return len(losses) == 1 and losses[0]["use"] in _GUESSING
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError):
        return False


def _peak(curves: Mapping[str, tuple[list[int], list[float]]]) -> int | None:
    """The step at which the effective rank was highest, smoothed; None with fewer than five readings."""
    steps, ranks = curves.get("effective_rank", ([], []))
    return steps[diagnostics.rank_peak(ranks)] if len(ranks) >= 5 else None
