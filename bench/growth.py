"""Time and memory against the batch: engine, dense PyTorch, and peers, as a picture.

    python -m bench.growth            measures, writes bench/results/growth.json and docs/growth.svg
    python -m bench.growth --draw     draws again from the JSON

Every contestant computes InfoNCE or, for pytorch-metric-learning, SupCon, forward and backward on unit vectors, d = 384. A
contestant stops growing where a step would need more than 8 GiB (dense: B x B x 4 bytes, at least six times).
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from typing import Any

from bench.contestants import Inputs
from bench.pairwise import contestant, extra_peak, seconds, step
from bench.record import RESULTS, circumstances, write

DIM = 384
SIZES = [1024, 2048, 4096, 8192, 16384, 32768]
LINES = {  # label: (kind, name, largest batch)
    "dipole, two-sided InfoNCE": ("engine", "infonce", 32768),
    "dense PyTorch, two-sided InfoNCE": ("dense", "infonce", 16384),
    "dipole, SupCon": ("engine", "supcon", 16384),
    "pytorch-metric-learning, SupCon": ("peer", "pytorch-metric-learning SupConLoss", 8192),
    "sentence-transformers cached, one-sided InfoNCE": ("peer", "sentence-transformers CachedMultipleNegativesRankingLoss", 16384),
}


def measure(rounds: int) -> dict[str, Any]:
    """Medians of interleaved rounds, and the memory of a fresh process, for every line and size."""
    lines: dict[str, dict[str, list[float]]] = {label: {"batch": [], "seconds": [], "extra peak bytes": []} for label in LINES}
    for batch in SIZES:
        inputs = Inputs.make(batch, DIM, 0)
        steps = {label: step(contestant(kind, name), inputs) for label, (kind, name, most) in LINES.items() if batch <= most}
        times: dict[str, list[float]] = {label: [] for label in steps}
        for round_ in range(rounds + 1):
            for label, once in steps.items():
                took = seconds(once)
                if round_ or batch >= 16384:  # the first round warms up; the largest batches need none
                    times[label].append(took)
        for label in steps:
            kind, name, _ = LINES[label]
            lines[label]["batch"].append(batch)
            lines[label]["seconds"].append(statistics.median(times[label]))
            lines[label]["extra peak bytes"].append(extra_peak(kind, name, (batch, DIM)))
            print(
                batch, label, f"{lines[label]['seconds'][-1]:.2f} s", f"{lines[label]['extra peak bytes'][-1] / 2**20:.0f} MiB", flush=True
            )
    return {**circumstances("pytorch-metric-learning", "sentence-transformers"), "dim": DIM, "rounds": rounds, "lines": lines}


def draw(found: dict[str, Any]) -> None:
    """Two panels, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "dipole"  # the same figures give the same file
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    for label, line in found["lines"].items():
        style = {"marker": "o", "label": label, "linewidth": 2.2 if label.startswith("dipole") else 1.2}
        left.loglog(line["batch"], line["seconds"], **style)
        right.loglog(line["batch"], [b / 2**20 for b in line["extra peak bytes"]], **style)
    for axes, title in ((left, "seconds, forward and backward"), (right, "peak memory beyond the inputs, MiB")):
        axes.set(title=title, xlabel="batch")
        axes.set_xticks(SIZES, [str(s) for s in SIZES])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(RESULTS.parents[1] / "docs" / "growth.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if not options.draw:
        write("growth.json", measure(options.rounds))
    draw(json.loads((RESULTS / "growth.json").read_text()))


if __name__ == "__main__":
    main()
