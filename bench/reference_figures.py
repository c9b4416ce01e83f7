"""Published figures of the packaged model, reproduced: STS-B test Spearman and SciFact nDCG@10.

    python -m bench.reference_figures --data FOLDER

FOLDER holds ``sts/sts12-16_stsb/STSBenchmark/sts-test.csv`` and ``retrieval/scifact/beir``. Writes
``bench/results/reference_figures.json``; exit code 1 where a figure is outside its tolerance. Some CPU minutes.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dipole.evaluate.kinds.retrieval import Retrieval
from dipole.evaluate.kinds.sts import STS
from dipole.evaluate.report import write_json
from dipole.modality.text.load import load_encoder

PUBLISHED = {  # figure, tolerance, where it is from
    "sts-b test": ("spearman", 0.8203, 0.0005, "the model's STS-B test figure, 82.03"),
    "scifact": ("ndcg@10", 0.645, 0.004, "the model's SciFact figure, 64.5, title and text joined"),
}
RESULTS = Path(__file__).parent / "results" / "reference_figures.json"


def main() -> int:
    """Measure, compare, write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("DIPOLE_DATA", str(Path(__file__).parents[1].parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    data: Path = parser.parse_args().data
    encoder = load_encoder("minilm")
    similarity, retrieval = STS(), Retrieval()
    task = similarity.read(str(data / "sts/sts12-16_stsb/STSBenchmark/sts-test.csv"), "sts-b test")
    found = [similarity(task, encoder.encode)]
    encoder.truncated.reset()
    corpus = retrieval.read(str(data / "retrieval/scifact/beir"), "scifact")
    found.append(retrieval(corpus, lambda texts: encoder.encode(texts, progress=True)))
    figures: dict[str, Any] = {}
    for result in found:
        metric, published, tolerance, source = PUBLISHED[result.task]
        figures[result.task] = result.to_json() | {
            "published": {metric: published},
            "tolerance": tolerance,
            "source": source,
            "reproduced": abs(result.metrics[metric] - published) <= tolerance,
        }
        print(f"{result.task}: {metric} {result.metrics[metric]:.4f}, published {published} +- {tolerance}")
    figures["scifact"]["truncated"] = str(encoder.truncated)
    write_json(
        RESULTS,
        {
            "command": "python -m bench.reference_figures",
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads",
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("torch", "transformers", "sentence-transformers", "ir-measures", "scipy")},
            "model": {"name": "minilm", "identity": encoder.identity},
            "figures": figures,
        },
    )
    return 0 if all(figure["reproduced"] for figure in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
