"""What each loss costs beside InfoNCE: time and memory of forward and backward on the same rows.

python -m bench.losses [--batch 3072] [--dim 128] [--rounds 5]

InfoNCE and the loss take turns, and the median of the quotients counts, so that a machine's changing speed falls out. Memory is the
most that tensors hold at once beyond the vectors; it is measured in a run of its own, since the meter takes time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.record import circumstances, write
from dipole.assembly.discover import discover
from tests.catalogue import LOSSES, loss_of, pairs_for
from tests.held import Held

CLASSES = 96  # where a loss reads labels


def step_of(name: str, batch: int, dim: int) -> Callable[[], None]:
    """One forward and backward of a loss of the catalogue; items of several views are as many as give ``batch`` views."""
    count = batch // 3 if LOSSES[name].pairs == "stacked" else batch
    chance = torch.Generator().manual_seed(0)
    queries, keys = (torch.nn.functional.normalize(torch.randn(count, dim, generator=chance), dim=1) for _ in range(2))
    labels = torch.arange(count) % CLASSES
    loss = loss_of(name)

    def step() -> None:
        sides = [queries.clone().requires_grad_(), keys.clone().requires_grad_()]
        loss(pairs_for(name, *sides, labels)).mean().backward()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def held(step: Callable[[], None]) -> int:
    """Bytes of tensors that one call holds at most."""
    with Held() as meter:
        step()
    return int(meter.peak)


def cost(name: str, batch: int, dim: int, rounds: int) -> dict[str, Any]:
    """A loss beside InfoNCE."""
    own, base = step_of(name, batch, dim), step_of("infonce", batch, dim)
    for step in (own, base):
        step()
    times = [(seconds(own), seconds(base)) for _ in range(rounds)]
    quotient = statistics.median(a / b for a, b in times)
    memory, beside = held(own), held(base)
    return {
        "time": round(quotient, 2),
        "memory": round(memory / beside, 2),
        "seconds": round(statistics.median(a for a, _ in times), 4),
        "bytes": memory,
    }


def main() -> None:
    """Measure every loss as the tests' catalogue sets it up, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=3072)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = {}
    for name in sorted(set(discover("losses")) & set(LOSSES)):
        found[name] = cost(name, given.batch, given.dim, given.rounds)
        print(f"{name:24} time {found[name]['time']:6.2f}  memory {found[name]['memory']:6.2f}", flush=True)
    result = {**circumstances(), "batch": given.batch, "dim": given.dim, "rounds": given.rounds, "classes": CLASSES, "losses": found}
    print(write("losses.json", result))


if __name__ == "__main__":
    main()
