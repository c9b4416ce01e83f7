"""Forward and backward of the engine beside dense PyTorch, the four bare matrix products, and peer libraries.

    python -m bench.pairwise --json            the foundation's case: symmetric InfoNCE, B = 8192, d = 384
    python -m bench.pairwise --all --json      every loss at every size, and the peers

Interleaved: one round runs every contestant once, in turn; medians over rounds and over the rounds of all seeds. Peak
memory is read from a fresh process for each contestant: the high-water mark above what the process held before (Linux).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from bench import memory
from bench.contestants import DENSE, ENGINE, PEERS, Inputs, Run, four_products
from bench.record import circumstances, write

SIZES = [(4096, 384), (16384, 384), (8192, 768)]
PEER_SIZE = (4096, 384)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def step(run: Run, inputs: Inputs) -> Callable[[], None]:
    def once() -> None:
        inputs.clear()
        loss = run(inputs)
        if inputs.q.grad is None:  # a loss that goes backward by itself has already done so
            loss.backward()

    return once


def interleaved(
    contestants: dict[str, Callable[[Inputs], Callable[[], None]]], size: tuple[int, int], rounds: int, seeds: int
) -> dict[str, float]:
    """Median seconds of each contestant."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for seed in range(seeds):
        inputs = Inputs.make(*size, seed)
        steps = {name: make(inputs) for name, make in contestants.items()}
        for once in steps.values():
            once()
        for _ in range(rounds):
            for name, once in steps.items():
                times[name].append(seconds(once))
    return {name: statistics.median(values) for name, values in times.items()}


def extra_peak(kind: str, name: str, size: tuple[int, int]) -> int:
    """Bytes a fresh process needs at its peak beyond what it held before the step."""
    command = [sys.executable, "-m", "bench.pairwise", "--child", kind, name, str(size[0]), str(size[1])]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def child(kind: str, name: str, batch: int, dim: int) -> None:
    warnings.simplefilter("ignore")
    run = contestant(kind, name)
    small = Inputs.make(64, dim, 0)
    step(run, small)()  # imports and thread pools
    inputs = Inputs.make(batch, dim, 0)
    memory.begin_again()
    before = memory.resident()
    step(run, inputs)()
    print(memory.peak() - before)


def contestant(kind: str, name: str) -> Run:
    if kind == "peer":
        return PEERS[name][0]()
    return {"engine": ENGINE, "dense": DENSE, "like": {n: p[1] for n, p in PEERS.items()}}[kind][name]


def against_dense(name: str, size: tuple[int, int], rounds: int, seeds: int) -> dict[str, Any]:
    contestants: dict[str, Any] = {
        "engine": lambda x: step(ENGINE[name], x),
        "dense": lambda x: step(DENSE[name], x),
        "four products": lambda x: lambda: four_products(x),
    }
    took = interleaved(contestants, size, rounds, seeds)
    memory = {kind: extra_peak(kind, name, size) for kind in ("engine", "dense")}
    return {
        "loss": name,
        "batch": size[0],
        "dim": size[1],
        "seconds": took,
        "engine / dense": took["engine"] / took["dense"],
        "engine / four products": took["engine"] / took["four products"],
        "extra peak bytes": memory,
        "memory engine / dense": memory["engine"] / memory["dense"],
    }


def against_peer(name: str, size: tuple[int, int], rounds: int, seeds: int) -> dict[str, Any]:
    make, like = PEERS[name]
    try:
        peer = make()
    except ModuleNotFoundError as error:
        return {"peer": name, "not run": str(error)}
    inputs = Inputs.make(256, size[1], 0)
    values = []
    for run in (peer, like):
        inputs.clear()
        values.append(float(run(inputs).detach()))
    contestants = {"engine": lambda x: step(like, x), "peer": lambda x: step(peer, x)}
    took = interleaved(contestants, size, rounds, seeds)
    memory = {"engine": extra_peak("like", name, size), "peer": extra_peak("peer", name, size)}
    return {
        "peer": name,
        "batch": size[0],
        "dim": size[1],
        "value at B = 256": {"peer": values[0], "engine": values[1]},
        "seconds": took,
        "engine / peer": took["engine"] / took["peer"],
        "extra peak bytes": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every loss at every size, and the peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="write bench/results/pairwise.json (or pairwise_all.json) and print it")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], int(options.child[2]), int(options.child[3]))
        return
    warnings.simplefilter("ignore")
    result: dict[str, Any] = circumstances("pytorch-metric-learning", "lightly", "sentence-transformers")
    result |= {"rounds": options.rounds, "seeds": options.seeds, "dtype": "float32", "cases": []}
    cases = [("infonce", (8192, 384))] if not options.all else [(name, size) for size in SIZES for name in ENGINE]
    for name, size in cases:
        case = against_dense(name, size, options.rounds, options.seeds)
        result["cases"].append(case)
        print(
            f"{name:8} B={size[0]} d={size[1]}: {case['seconds']['engine']:.2f} s, {case['engine / dense']:.2f} x dense, "
            f"{case['engine / four products']:.2f} x four products, memory {case['memory engine / dense']:.3f} x dense",
            file=sys.stderr,
        )
    if options.all:
        result["peers"] = [against_peer(name, PEER_SIZE, options.rounds, options.seeds) for name in PEERS]
        for peer in result["peers"]:
            print(peer, file=sys.stderr)
    if options.json:
        write("pairwise_all.json" if options.all else "pairwise.json", result)
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
