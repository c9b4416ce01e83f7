"""The engine on a GPU: rate against the measured matrix-product rate, against dense, and its workspace.

    python -m bench.gpu                  bf16, d = 768, B = 8192 to 262144; writes bench/results/gpu.json
    python -m bench.gpu --largest 1048576

TFLOP/s count four products, 8 B^2 d. The ceiling is the rate of one bf16 product of the same shape. Dense runs where three
copies of its float32 matrix fit. Fused code is made in a warm-up that is timed apart. Needs a CUDA device; without one it
says so and writes nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import torch

from bench.contestants import DENSE, ENGINE, Inputs, Run
from bench.record import circumstances, write

DIM = 768
SIZES = [8192, 32768, 65536, 262144, 1048576]


def timed(run: Run, inputs: Inputs, rounds: int) -> dict[str, float]:
    """Milliseconds of forward and backward, the warm-up's seconds, and the peak bytes beyond what was held before."""

    def once() -> None:
        inputs.clear()
        run(inputs).backward()

    start = time.perf_counter()
    once()
    torch.cuda.synchronize()
    warm_up = time.perf_counter() - start
    inputs.clear()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        once()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return {
        "ms": statistics.median(times),
        "warm-up seconds": warm_up,
        "extra peak bytes": torch.cuda.max_memory_allocated() - held,
    }


def ceiling(batch: int, rounds: int = 20) -> float:
    """TFLOP/s of a bare bf16 product (rows, d) x (d, rows), rows at most 32768."""
    rows = min(batch, 32768)
    a, b = (torch.randn(rows, DIM, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty(rows, rows, device="cuda", dtype=torch.bfloat16)
    torch.mm(a, b.T, out=out)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(rounds):
        torch.mm(a, b.T, out=out)
    end.record()
    torch.cuda.synchronize()
    return 2 * rows * rows * DIM * rounds / begin.elapsed_time(end) / 1e9


def measure(largest: int, rounds: int) -> dict[str, Any]:
    """Every loss at every size that is asked for."""
    result: dict[str, Any] = {**circumstances(), "dtype": "bfloat16", "dim": DIM, "rounds": rounds, "cases": []}
    for batch in (b for b in SIZES if b <= largest):
        inputs = Inputs.make(batch, DIM, 0, "cuda", torch.bfloat16)
        top = ceiling(batch)
        for name in ENGINE if batch <= 65536 else ["infonce"]:
            case: dict[str, Any] = {"loss": name, "batch": batch, "ceiling TFLOP/s": top, "engine": timed(ENGINE[name], inputs, rounds)}
            case["TFLOP/s"] = 8 * batch**2 * DIM / case["engine"]["ms"] / 1e9
            case["of ceiling"] = case["TFLOP/s"] / top
            inputs.clear()
            if 12 * batch**2 < torch.cuda.mem_get_info()[0]:
                case["dense"] = timed(DENSE[name], inputs, rounds)
                case["dense / engine"] = case["dense"]["ms"] / case["engine"]["ms"]
            inputs.clear()
            torch.cuda.empty_cache()
            result["cases"].append(case)
            print({k: v for k, v in case.items() if k != "dense"}, file=sys.stderr, flush=True)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=262144)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("bench.gpu: no CUDA device here; nothing measured, nothing written", file=sys.stderr)
        return 1
    write("gpu.json", measure(options.largest, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
