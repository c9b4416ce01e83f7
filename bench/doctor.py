"""What the doctor adds to a step: the same run with readings every ten steps, and without, interleaved; toy.bag and minilm.

    python -m bench.doctor                  writes bench/results/doctor.json
    python -m bench.doctor --rounds 1       fewer rounds: toy.bag is measured three times as often as minilm

toy.bag is the worst case: an encoder so small that a step takes milliseconds. Both runs write the same log; the one without a doctor
reads nothing and judges nothing. ``added share`` is the median over rounds of the two runs' difference in mean step time;
``own share`` is the time the doctor counts for itself, which a busy machine disturbs less: readings, judgements, and the picture of
the random state that every step takes, for the rerun after a NaN, which is in both runs. Of the whole run, its first five readings
included, which are taken whatever they cost.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.record import circumstances, write
from dipole.assembly.build import build
from dipole.assembly.small import small
from dipole.assembly.spec import load
from dipole.train.doctor.watch import Doctor
from dipole.train.log import read
from dipole.train.run import train

CASES: dict[str, dict[str, Any]] = {
    "toy.bag": {"steps": 120, "change": {}},
    "minilm": {
        "steps": 31,
        "change": {
            "encoder": {"use": "text.transformer", "model": "minilm", "max_tokens": 32},
            "step": {"batch_size": 32, "micro_batch_size": 0, "learning_rate": 2e-5},
        },
    },
}
RECIPES = ("simcse", "clip-pairs")  # without and with mined negatives


def once(recipe: str, case: dict[str, Any], every: int) -> tuple[float, float]:
    """Mean seconds a step, the first ten left out, over whole tens of steps; and the doctor's own seconds a step."""
    doctor = Doctor(every=every)
    spec = small(load(recipe)).changed(case["change"], "bench").changed({"step": {"max_steps": case["steps"], "save_steps": 0}}, "bench")
    with tempfile.TemporaryDirectory() as folder:
        train(build(spec), Path(folder) / "run", show=False, doctor=doctor)
        seconds = [record["seconds"] for record in read(Path(folder) / "run" / "log.jsonl")][10:]
    return statistics.mean(seconds[: len(seconds) // 10 * 10]), doctor.pace.spent / case["steps"]


def measured(recipe: str, name: str, rounds: int) -> dict[str, Any]:
    """Both ways, turn and turn about."""
    case = CASES[name]
    once(recipe, {**case, "steps": 21}, 10)  # warm
    with_doctor, without, own = [], [], []
    for number in range(rounds):
        for every in (10, 0) if number % 2 else (0, 10):
            wall, spent = once(recipe, case, every)
            (with_doctor if every else without).append(wall)
            own += [spent] if every else []
    base = statistics.median(without)
    added = statistics.median(a - b for a, b in zip(with_doctor, without, strict=True))
    return {
        "recipe": recipe,
        "encoder": name,
        "seconds a step without": base,
        "added seconds a step": added,
        "added share": added / base,
        "own seconds a step": statistics.median(own),
        "own share": statistics.median(own) / base,
        "rounds": {"with": with_doctor, "without": without},
    }


def main() -> None:
    """Measure every recipe with every encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cases = []
    for name in CASES:
        for recipe in RECIPES:
            rounds = 3 * arguments.rounds if name == "toy.bag" else arguments.rounds
            cases.append(found := measured(recipe, name, rounds))
            step, added, own = found["seconds a step without"], found["added share"], found["own share"]
            print(f"{name:8} {recipe:10} {step * 1000:8.2f} ms a step, the doctor adds {added:+.2%}, by its own clock {own:.2%}")
    print(f"written: {write('doctor.json', {**circumstances('sentence-transformers'), 'every': 10, 'cases': cases}).name}")


if __name__ == "__main__":
    main()
