"""Evaluate a model on tasks named in text or in a suite file, as the command line does."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import UnknownNameError, UsageError
from dipole.evaluate.kind import kinds, make
from dipole.evaluate.mteb import MTEBTasks
from dipole.evaluate.result import Result, rows_file

MTEB = "mteb"  # the kind whose places are names of MTEB's tasks
_SUITE_KEYS = ("schema", "tasks")
_OF_A_TASK = ("name", "kind", "path")


@dataclass(frozen=True, eq=False)
class Named:
    """A task as read, the kind that measures it, and the options that kind was given."""

    name: str
    kind: Any
    task: Any
    options: Mapping[str, Any]


def parse_task(text: str) -> tuple[str, str, str]:
    """``KIND:PLACE`` or ``NAME=KIND:PLACE`` -> (name, kind, place). Unnamed, the whole text is the name.

    >>> parse_task("sts:dev.tsv"), parse_task("dev=sts:dev.tsv")
    (('sts:dev.tsv', 'sts', 'dev.tsv'), ('dev', 'sts', 'dev.tsv'))
    """
    head, colon, place = text.partition(":")
    name, equals, kind = head.rpartition("=")
    if not colon or not place:
        raise UsageError(f"task {text!r}: write KIND:PLACE or NAME=KIND:PLACE, for example sts:pairs.tsv or retrieval:folder")
    _known(kind, f"task {text!r}")
    return (name if equals else text), kind, place


def _known(kind: str, where: str) -> None:
    names = {*kinds(), MTEB}
    if kind not in names:
        raise UnknownNameError("kind of task", kind, names, where)


def read_tasks(texts: Sequence[str] = (), suite: str | Path | None = None) -> list[Named]:
    """The tasks of the texts, then those of the suite file, read and checked before any model is loaded.

    Raises UsageError where there is none or two share a name.
    """
    wanted: list[tuple[str, str, str, dict[str, Any]]] = [(*parse_task(text), {}) for text in texts]
    wanted += [] if suite is None else read_suite(suite)
    names = [name for name, *_ in wanted]
    if not names:
        raise UsageError("name at least one task, for example: --task sts:pairs.tsv, or give a --suite")
    if len(set(names)) != len(names):
        raise UsageError(f"the tasks must have different names, got {', '.join(names)}; name them: NAME=KIND:PLACE")
    found = []
    for name, kind, place, options in wanted:
        if kind == MTEB and options:
            raise UsageError(f"task {name!r}: a task of MTEB has no options, got {', '.join(options)}")
        made = MTEBTasks() if kind == MTEB else make(kind, options, f"task {name!r}")
        found.append(Named(name, made, made.read(place, name), options))
    return found


def read_suite(path: str | Path) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(name, kind, place, options) of each ``[[tasks]]`` of a suite file; relative paths start at the file's folder.

    Raises UsageError where the file is missing, is no TOML, or a task lacks its kind or path; a wrong option is refused by its kind.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise UsageError(f"{place}: no such suite file")
    try:
        held = tomllib.loads(place.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{place}: no TOML: {error}") from None
    for key in held:
        if key not in _SUITE_KEYS:
            raise UnknownNameError("key", key, _SUITE_KEYS, str(place))
    if held.get("schema") != 1:
        raise UsageError(f"{place}: the file must say 'schema = 1', got {held.get('schema')!r}")
    tasks = held.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        raise UsageError(f"{place}: the file must hold at least one task, [[tasks]] with kind and path")
    found = []
    for number, task in enumerate(tasks, 1):
        for key in ("kind", "path"):
            if not isinstance(task.get(key), str) or not task[key]:
                raise UsageError(f"{place}: task {number} must have a {key}, a text, got {task.get(key)!r}")
        _known(task["kind"], f"{place}: task {number}")
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in task.items() if key not in _OF_A_TASK}
        where = task["path"] if task["kind"] == MTEB else _beside(place.parent, task["path"])
        found.append((str(task.get("name") or f"{task['kind']}:{task['path']}"), task["kind"], where, options))
    return found


def _beside(folder: Path, path: str) -> str:
    """A task's path seen from the suite's folder; ``A+B`` is two paths unless there is a file of that name."""
    whole = folder / Path(path).expanduser()
    if whole.exists() or "+" not in path:
        return str(whole)
    return "+".join(str(folder / Path(part).expanduser()) for part in path.split("+"))


def evaluate_encoder(
    encoder: Any,
    tasks: Sequence[Named],
    *,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
    told: Callable[[Result, dict[str, Any]], None] | None = None,
    per_item: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Task name -> figures, definitions, intervals, counts, policy, model, seconds, truncated, as JSON can hold them.

    ``told`` is called after each task; ``per_item`` is a folder for one Parquet file a task. Raises UsageError where two tasks would
    share a file.
    """
    files = [rows_file(task.name) for task in tasks]
    if per_item is not None and len(set(files)) != len(files):
        twice = next(name for name in files if files.count(name) > 1)
        raise UsageError(f"two tasks would write their rows to {twice}; give them names that differ in letters or digits")
    found: dict[str, dict[str, Any]] = {}
    identity = encoder.identity

    def encode(side: str) -> Callable[[Sequence[Any]], Any]:
        return lambda items: encoder.encode(list(items), batch_size=batch_size, progress=progress, side=side)

    for task in tasks:
        started = time.perf_counter()
        encoder.truncated.reset()
        if isinstance(task.kind, MTEBTasks):
            result = task.kind(task.task, encode, getattr(encoder, "model", "model"), identity, task.name, batch_size)
        else:
            sides = (encode("queries"), encode("keys")) if task.kind.two_sided else (encode(""), None)
            result = task.kind(task.task, *sides, seed=seed)
        entry = result.to_json() | {
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in task.options.items()},
            "model": identity,
            "seconds": round(time.perf_counter() - started, 2),
            "truncated": {"texts": int(encoder.truncated), "of": encoder.truncated.seen, "max_tokens": encoder.truncated.max_tokens},
        }
        found[task.name] = entry
        if per_item is not None and result.per_item:
            entry["per_item"] = str(result.write_per_item(per_item))
        if told is not None:
            told(result, entry)
    return found
