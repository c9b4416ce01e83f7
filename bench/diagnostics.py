"""How diagnostics' time and memory grow, what a million vectors take, and what a trained and an untrained encoder have: where the
bounds of verdicts come from.

python -m bench.diagnostics                         growth, about two minutes
python -m bench.diagnostics --many [N]              every diagnostic on N vectors of 384 numbers, 1,000,000 unless said; needs 12 GB
python -m bench.diagnostics --data FOLDER           the figures, on Banking77, SNLI entailments and Wikipedia sentences of FOLDER

Each writes its own part of bench/results/diagnostics.json and leaves the others.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.record import RESULTS, circumstances, write
from dipole import Pairs, diagnostics
from dipole.report.diagnose import diagnose
from dipole.report.inputs import Options
from tests.held import Held

NAME = "diagnostics.json"
DIM, ROWS, SIZES = 64, 1000, (4000, 8000, 16000)
MEASURED: dict[str, Callable[[torch.Tensor], Any]] = {
    "uniformity": diagnostics.uniformity,
    "uniformity, rows=1000": lambda x: diagnostics.uniformity(x, rows=ROWS),
    "similarities": lambda x: diagnostics.similarities(x, x),
    "similarities, rows=1000": lambda x: diagnostics.similarities(x, x, rows=ROWS),
    "hubness": diagnostics.hubness,
    "mutual_neighbours, rows=1000": lambda x: diagnostics.mutual_neighbours(x, x, rows=ROWS),
    "gradient_share": lambda x: diagnostics.gradient_share(x, x, 0.1),
    "alignment": lambda x: diagnostics.alignment(x, x),
    "anisotropy": diagnostics.anisotropy,
    "effective_rank": diagnostics.effective_rank,
    "isotropy": diagnostics.isotropy,
    "cka": lambda x: diagnostics.cka(x, x.flip(1)),
}


def growth() -> list[dict[str, Any]]:
    """Seconds and bytes held beyond the vectors, for each diagnostic and number of vectors."""
    found = []
    for name, work in MEASURED.items():
        seconds, held = [], []
        for n in SIZES:
            x = torch.randn(n, DIM, generator=torch.Generator().manual_seed(0))
            work(x[:200])
            start = time.perf_counter()
            with Held() as meter:
                work(x)
            seconds.append(round(time.perf_counter() - start, 4))
            held.append(meter.peak)
        print(f"{name:30} {seconds} s, {[round(b / 2**20) for b in held]} MiB")
        found.append({"diagnostic": name, "seconds": seconds, "bytes": held})
    return found


def many(n: int, dim: int = 384, rows: int = 256) -> dict[str, Any]:
    """Seconds of the process's computing and bytes held beyond the vectors: what is linear on all of them, what looks at every pair
    with ``rows`` rows against all, from which the time of the exact figure follows: N / rows times as long, in the same memory."""
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(n, dim, generator=dice)
    y = torch.randn(n, dim, generator=dice).mul_(0.5).add_(x)
    labels = torch.arange(n) % 1000
    linear: dict[str, Callable[[], Any]] = {
        "alignment": lambda: diagnostics.alignment(x, y),
        "anisotropy": lambda: diagnostics.anisotropy(x),
        "tolerance": lambda: diagnostics.tolerance(x, labels),
        "cosine_gap": lambda: diagnostics.cosine_gap(x, y),
        "modality_gap": lambda: diagnostics.modality_gap(x, y),
        "effective_rank": lambda: diagnostics.effective_rank(x),
        "isotropy": lambda: diagnostics.isotropy(x),
        "partition_isotropy": lambda: diagnostics.partition_isotropy(x),
        "neural_collapse": lambda: diagnostics.neural_collapse(x, labels),
        "cka": lambda: diagnostics.cka(x, y),
        "false_negatives_by_ids": lambda: diagnostics.false_negatives_by_ids(labels, 2048),
        "eci": lambda: diagnostics.eci(x, y, y.roll(1, 0), torch.arange(n)),
    }
    pairwise: dict[str, Callable[[], Any]] = {
        "uniformity": lambda: diagnostics.uniformity(x, rows=rows),
        "similarities": lambda: diagnostics.similarities(x, y, rows=rows),
        "occurrences (hubness)": lambda: diagnostics.occurrences(x, x[:rows]),
        "mutual_neighbours": lambda: diagnostics.mutual_neighbours(x, y, rows=rows),
        "temperature_sensitivity": lambda: diagnostics.temperature_sensitivity(x, y, rows=rows),
        "gradient_share": lambda: diagnostics.gradient_share(x, y, 0.1, rows=rows),
        "gradient_share_of_queries": lambda: diagnostics.gradient_share_of_queries(x, y, 0.1, rows=rows),
        "false_negatives_by_teacher": lambda: diagnostics.false_negatives_by_teacher(Pairs.aligned(x[:rows], y)),
    }
    found = []
    for name, work in (linear | pairwise).items():
        start = time.process_time()
        with Held() as meter:
            work()
        seconds = time.process_time() - start
        print(f"{name:30} {seconds:8.1f} s, {meter.peak / 2**20:.0f} MiB", flush=True)
        entry = {"diagnostic": name, "rows": rows if name in pairwise else n, "cpu seconds": round(seconds, 3), "bytes": meter.peak}
        found.append(entry | ({"cpu seconds for all rows": round(seconds * n / rows)} if name in pairwise else {}))
    return {"vectors": n, "dim": dim, "bytes of one side": x.nbytes, "diagnostics": found}


def texts(data: Path, count: int) -> dict[str, list[dict[str, str]]]:
    """Rows of three kinds of text."""
    chance = random.Random(0)
    with (data / "classification/banking77/test.csv").open(encoding="utf-8") as file:
        banking = [{"anchor": row["text"]} for row in csv.DictReader(file)]
    pairs = [line.rstrip("\n").split("\t") for line in (data / "nli/snli_dev_test/dev.tsv").open(encoding="utf-8")]
    snli = [{"anchor": first, "positive": second} for label, first, second in pairs if label == "entailment"]
    wiki = [
        {"anchor": line.strip()} for line in (data / "sentences/wiki_sents/all_wiki_sents.txt").open(encoding="utf-8") if len(line) > 30
    ]
    return {name: chance.sample(rows, count) for name, rows in (("banking77", banking), ("snli entailments", snli), ("wikipedia", wiki))}


def untrained() -> Any:
    """The packaged encoder with weights drawn anew."""
    from dipole.modality.text.encoders.transformer import Transformer

    torch.manual_seed(0)
    encoder = Transformer()
    for module in encoder.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            torch.nn.init.normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                torch.nn.init.zeros_(module.bias)
    return encoder


def figures(data: Path, count: int) -> list[dict[str, Any]]:
    """What the bounds are held against: each encoder on each kind of text."""
    from dipole.modality.load import open_encoder

    rows_of = texts(data, count)
    found = []
    for encoder_name, encoder in (("all-MiniLM-L6-v2", open_encoder("minilm")), ("random weights", untrained())):
        for name, rows in rows_of.items():
            report = diagnose(encoder, rows, options=Options(sample=count))
            values, spread, pairs = report.values, report.values["vectors"], report.values["pairs"]
            held = {
                "uniformity": values["uniformity"],
                "effective rank": values["effective_rank"] / spread["isotropic_rank"],
                "isotropy": values["isotropy"],
                "anisotropy": spread["anisotropy"],
                "hubness": spread["hubness"]["skewness"],
            }
            if pairs is not None:
                held |= {"alignment": pairs["relative_alignment"], "overlap": pairs["overlap"], "confused": pairs["confused"]}
            print(encoder_name, name, {key: round(value, 3) for key, value in held.items()})
            statuses = {v.name: v.status for v in report.verdicts if v.name in held}
            found.append({"encoder": encoder_name, "texts": name, "rows": count, "figures": held, "statuses": statuses})
    return found


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--many", type=int, nargs="?", const=1_000_000, metavar="N")
    parser.add_argument("--rows", type=int, default=800)
    asked = parser.parse_args()
    told = circumstances("sentence-transformers")
    if asked.data is not None:
        part = {"figures": {**told, "encoders": figures(asked.data, asked.rows)}}
    elif asked.many:
        part = {"many": {**told, **many(asked.many)}}
    else:
        part = {"growth": {**told, "dim": DIM, "sizes": list(SIZES), "diagnostics": growth()}}
    kept = json.loads((RESULTS / NAME).read_text(encoding="utf-8")) if (RESULTS / NAME).exists() else {}
    print(f"written: {write(NAME, kept | part).name}")


if __name__ == "__main__":
    main()
