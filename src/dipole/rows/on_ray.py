"""Rows worked on in pieces by the workers of a Ray cluster, through Ray Data.

A worker is an actor: it sets itself up once, then does piece after piece. What a worker was doing when it died is done again by
another; a piece may therefore be worked on twice and has to count once, which is for the caller to see to. Every worker must find
dipole and the files it is told of where it runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dipole.core.errors import DipoleError, UsageError
from dipole.core.extras import need

_TRIES = 5  # times that a piece is given out again when its worker died: machines go, but rows that kill every worker stay


@dataclass(frozen=True)
class Piece:
    """Rows ``start`` to ``stop``, the last not included."""

    number: int
    start: int
    stop: int


Work = Callable[[Piece], Any]


def pieces_of(rows: int, size: int) -> list[Piece]:
    """All rows in pieces of ``size``.

    >>> pieces_of(5, 2)[-1]
    Piece(number=2, start=4, stop=5)
    """
    return [Piece(number, start, min(start + size, rows)) for number, start in enumerate(range(0, rows, size))]


def spread(
    setup: Callable[[], Work],
    pieces: Sequence[Piece],
    address: str = "",
    workers: int = 0,
    told: Callable[[Piece], None] = lambda piece: None,
) -> dict[int, Any]:
    """Number of a piece -> what the work gave for it. ``setup`` is called once in every worker.

    ``address`` of the cluster; empty for one of this machine, started and ended here, or the one that is connected already.
    ``workers``: at most so many, 0 for one a CPU. Raises in the caller what setup and work raise of dipole's errors, at once, and
    DipoleError where workers die again and again.
    """
    if not pieces:
        return {}
    done: dict[int, Any] = {}
    known = {piece.number: piece for piece in pieces}
    with _connected(address) as ray:
        most = min(workers or max(1, int(ray.cluster_resources().get("CPU", 1))), len(pieces))
        given = ray.data.from_items([{"piece": pickle.dumps(piece)} for piece in pieces], override_num_blocks=len(pieces))
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most)
        settings = {"fn_constructor_args": (setup,), "batch_size": 1, "num_cpus": 1, "max_task_retries": _TRIES}
        with warnings.catch_warnings():  # Ray has no other name for it yet
            warnings.filterwarnings("ignore", ".*ray_remote_args.* is deprecated", DeprecationWarning)
            results = given.map_batches(_Worker, compute=pool, **settings)
        try:
            for row in results.iter_rows():
                number, value, error = pickle.loads(row["result"])
                if error is not None:
                    raise error
                done[number] = value
                told(known[number])
        except ray.exceptions.RayActorError as error:
            rule = f"workers of the cluster died {_TRIES + 1} times over the same piece"
            raise DipoleError(
                f"{rule} (memory?); see Ray's logs, try fewer workers or smaller batches: {str(error).partition(chr(10))[0]}"
            ) from error
    return done


class _Worker:
    """What Ray Data keeps alive: one a process. What fails in setting it up comes with the first piece; Ray would only try again."""

    def __init__(self, setup: Callable[[], Work]) -> None:
        try:
            self.work = setup()
        except DipoleError as error:
            self.work = partial(_refuse, error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = []
        for packed in batch["piece"]:
            piece: Piece = pickle.loads(packed)
            try:
                results.append(pickle.dumps((piece.number, self.work(piece), None)))
            except DipoleError as error:
                results.append(pickle.dumps((piece.number, None, error)))
        return {"result": results}


def _refuse(error: DipoleError, piece: Piece) -> None:
    raise error


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected; what was begun here is ended here."""
    ray = need("ray", "ray", "working on a Ray cluster")
    need("ray.data", "ray", "working on a Ray cluster")
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)  # what Ray starts begins anew
            ray.init(logging_level="error", log_to_driver=False, **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"no Ray cluster answers at {address or 'this machine'}: {error}") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        ray.shutdown()
