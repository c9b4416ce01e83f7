"""The demo as a user runs it, over several seeds: figures, intervals, wall time. Run it on a machine that does nothing else.

    python -m bench.demo            writes bench/results/demo.json
    python -m bench.demo --fast     writes bench/results/demo_fast.json

The figures are those of seed 0; ``seeds`` has MRR@10, its interval and the seconds of each seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.record import circumstances, write


def once(fast: bool, seed: int, folder: Path) -> dict[str, Any]:
    """One run of ``dipole demo`` in a process of its own, and its wall time from start to end."""
    figures = folder / f"{seed}.json"
    call = [sys.executable, "-m", "dipole", "demo", "--seed", str(seed), "--output", str(folder / str(seed)), "--json", str(figures)]
    start = time.perf_counter()
    subprocess.run([*call, "--fast"] if fast else call, check=True)
    wall = round(time.perf_counter() - start, 1)
    found: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return {**found, "wall_seconds": wall}


def main() -> None:
    """Run all seeds and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [once(arguments.fast, seed, Path(folder)) for seed in range(arguments.seeds)]
    seeds = [
        {"before": r["before"]["mrr@10"], "after": r["after"]["mrr@10"], "gain": r["gain"]["mrr@10"], "wall_seconds": r["wall_seconds"]}
        for r in runs
    ]
    around = circumstances("transformers", "sentence-transformers", "lightning-fabric", "lancedb")
    path = write("demo_fast.json" if arguments.fast else "demo.json", {**runs[0], **around, "seeds": seeds})
    print(f"written: {path.name}")


if __name__ == "__main__":
    main()
