"""How long an audit takes and how much memory it needs: made-up rows with planted copies, near copies, leaks and empty rows.

    python -m bench.audit                     200,000 rows and a tenth of them; writes bench/results/audit.json
    python -m bench.audit --rows 1000000      one size more, added to that file; minutes

Each size runs in a process of its own; memory is the most that process held, ``cpu seconds`` what it computed, which other processes
on the machine do not change as they do ``seconds``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import memory
from bench.record import RESULTS, circumstances, write

NAME = "audit.json"


def make(folder: Path, count: int) -> dict[str, int]:
    """Files ``train.jsonl`` and ``dev.jsonl``; how many of each illness were planted."""
    dice = random.Random(0)
    words = ["".join(dice.choices("abcdefghijklmnoprstuvwy", k=dice.randint(3, 9))) for _ in range(20_000)]
    small = "the of and to in is you that it was for on are with as they be at have this"

    def text(length: int) -> str:
        return " ".join(dice.choice(small.split()) if n % 3 == 0 else dice.choice(words) for n in range(length))

    planted = {"duplicate": 0, "near-duplicate": 0, "leak": 0, "empty": 0}
    with open(folder / "train.jsonl", "w") as train, open(folder / "dev.jsonl", "w") as dev:
        for number in range(count):
            row = {"anchor": text(12), "positive": text(30), "negative": text(30)}
            line = json.dumps(row)
            train.write(line + "\n")
            if number % 200 == 10:
                train.write(line + "\n")
                planted["duplicate"] += 1
            if number % 200 == 20:
                train.write(json.dumps({**row, "positive": row["positive"][:-4]}) + "\n")
                planted["near-duplicate"] += 1
            if number % 2000 == 30:
                dev.write(line + "\n")
                planted["leak"] += 1
            if number % 2000 == 40:
                train.write(json.dumps({**row, "anchor": ""}) + "\n")
                planted["empty"] += 1
    return planted


def once(folder: str) -> None:
    """Audit the files of a folder and print seconds, bytes and counts."""
    from dipole.audit.run import Settings, audit

    start = time.perf_counter()
    report = audit(Path(folder) / "train.jsonl", Settings(against=[Path(folder) / "dev.jsonl"]))
    seconds = time.perf_counter() - start
    told = {"seconds": seconds, "cpu seconds": time.process_time(), "peak bytes": memory.peak()}
    print(json.dumps({"rows": report.rows, **told, "counts": report.counts}))


def measured(count: int) -> dict[str, Any]:
    """One size."""
    with tempfile.TemporaryDirectory() as folder:
        planted = make(Path(folder), count)
        size = (Path(folder) / "train.jsonl").stat().st_size
        told = subprocess.run([sys.executable, "-m", "bench.audit", "--once", folder], capture_output=True, text=True, check=True).stdout
    return {"planted": planted, "file bytes": size, **json.loads(told)}


def main() -> None:
    """Measure one size after the smaller ones: what grows is what a row costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--once", default="")
    arguments = parser.parse_args()
    if arguments.once:
        once(arguments.once)
        return
    result = json.loads((RESULTS / NAME).read_text(encoding="utf-8")) if (RESULTS / NAME).exists() else {"sizes": []}
    if arguments.rows == 200_000:
        result = {"sizes": [measured(20_000)]}
    sizes = [size for size in result["sizes"] if size["rows"] < arguments.rows] + [measured(arguments.rows)]
    small, large = sizes[0], sizes[-1]
    grown = (large["peak bytes"] - small["peak bytes"]) / max(1, large["rows"] - small["rows"])
    for found in sizes:
        spent = f"{found['seconds']:.1f} s ({found['cpu seconds']:.1f} s computing)"
        print(f"{found['rows']} rows: {spent}, {found['peak bytes'] / 2**20:.0f} MiB, {found['counts']}")
    print(f"{grown:.0f} bytes a row")
    print(f"written: {write(NAME, {**circumstances('numpy'), 'bytes a row': grown, 'sizes': sizes}).name}")


if __name__ == "__main__":
    main()
