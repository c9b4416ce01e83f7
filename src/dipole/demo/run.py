"""Six steps: audit, measure, fine-tune, measure again, search, say what comes next.

``run_demo(Path("dipole-demo"))`` is what ``dipole demo`` calls; it works in a notebook too.

    OUTPUT/demo.json      settings and, once done, the figures: this file marks the folder as the demo's
    OUTPUT/run/           the training run, with the model in run/model
    OUTPUT/collection/    the search collection
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import UsageError
from dipole.demo.pairs import CodePairs, Split, names_of, split
from dipole.demo.settings import FULL, QUERIES, Settings
from dipole.search.documents import Document, Hit

METRICS = ("mrr@10", "recall@1", "recall@10")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What the demo measured. ``gain``: 95% intervals of after minus before over the same queries (paired bootstrap)."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    gain: Mapping[str, tuple[float, float]]
    seconds: float
    counts: Mapping[str, int]
    timing: Mapping[str, float]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    answers: Mapping[str, Sequence[Hit]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["gain"] = {name: list(bounds) for name, bounds in self.gain.items()}
        found["answers"] = {query: [{"id": hit.id, "score": hit.score} for hit in hits] for query, hits in self.answers.items()}
        return found


def run_demo(output: Path, settings: Settings = FULL, data: str = "", resume: bool = False, say: Say = print) -> Report:
    """Run all six steps in ``output``. ``data``: a folder of Python files; empty for the running Python's own library.

    Raises UsageError where ``output`` holds something else, KeyboardInterrupt (with the run saved) on Ctrl-C.
    """
    from dipole.evaluate.bootstrap import paired_interval
    from dipole.modality.text.encoders.transformer import Transformer
    from dipole.modality.text.rows.code import Code

    began = time.perf_counter()
    timing: dict[str, float] = {}
    claim(output, settings, data, resume)
    halves = split(Code(path=data), settings.held_out, settings.train_rows)
    encoder = Transformer(model="minilm", max_tokens=settings.max_tokens)
    say(f"[1/6] pairs: {halves.audit(_cut(encoder, halves))}")

    say("[2/6] the packaged all-MiniLM-L6-v2 (sha256 checked) on the held-out files")
    with _timed(timing, "evaluate_before"):
        before = _measure(encoder, halves.held_out)
    say(f"      {_figures(before)}")

    steps = max(1, int(settings.epochs * (len(halves.train) // settings.batch_size)))
    say(f"[3/6] fine-tuning: symmetric InfoNCE over batches of {settings.batch_size}, gradients cached, {steps} steps")
    with _timed(timing, "train"):
        _train(encoder, halves.train, settings, data, output / "run", resume)

    say("[4/6] the fine-tuned model on the same held-out files")
    with _timed(timing, "evaluate_after"):
        after = _measure(encoder, halves.held_out)
    gain = {name: paired_interval(before[name], after[name]) for name in METRICS}
    for name in METRICS:
        first, second, (low, high) = float(before[name].mean()), float(after[name].mean()), gain[name]
        say(f"      {name:<10} {first:.3f} -> {second:.3f}   gain {second - first:+.3f}, 95% interval [{low:+.3f}, {high:+.3f}]")

    with _timed(timing, "index"):
        answers, stored = _search(output, halves, settings)
    say(f"[5/6] a search collection of {stored} functions: {output / 'collection'}")
    for query, hits in answers.items():
        say(f'      "{query}"')
        for hit in hits:
            say(f"        {hit.score:.2f}  {hit.id}   {hit.metadata.get('docstring', '')}"[:120])

    report = Report(
        before={name: float(before[name].mean()) for name in METRICS},
        after={name: float(after[name].mean()) for name in METRICS},
        gain=gain,
        seconds=round(time.perf_counter() - began, 1),
        counts={
            "train": len(halves.train),
            "held_out": len(halves.held_out),
            "copies": halves.copies,
            "steps": steps,
            "stored": stored,
        },
        timing=timing,
        settings=dataclasses.asdict(settings),
        versions={"python": platform.python_version(), "torch": torch.__version__, "threads": str(torch.get_num_threads())},
        answers=answers,
    )
    _write(output / "demo.json", {"settings": settings.text(data), "report": report.to_json()})
    say(f"[6/6] done in {report.seconds:.0f} s. Go on with:")
    for line in _next(output):
        say(f"      {line}")
    return report


def claim(output: Path, settings: Settings, data: str, resume: bool) -> None:
    """Make the folder the demo's: a new or empty one, or one that an earlier demo made (then it starts over)."""
    mark = output / "demo.json"
    wanted = settings.text(data)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; give a folder with --output")
    if mark.is_file():
        try:
            was = json.loads(mark.read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError, TypeError):
            was = ""
        if resume and was != wanted:
            raise UsageError(f"{output} holds a demo with other settings; give the same ones, or leave --resume out to start over")
        if not resume:
            for place in (output / "run", output / "collection"):
                shutil.rmtree(place, ignore_errors=True)
    elif resume:
        raise UsageError(f"{output} holds no demo to go on with; leave --resume out")
    elif output.exists() and any(output.iterdir()):
        raise UsageError(f"{output} holds other files; give a new folder with --output")
    output.mkdir(parents=True, exist_ok=True)
    _write(mark, {"settings": wanted})


def _cut(encoder: Any, halves: Split) -> str:
    """How many bodies are longer than the model reads here."""
    encoder.truncated.reset()
    for start in range(0, len(halves.train), 256):
        encoder.prepare([row["positive"] for row in halves.train.rows[start : start + 256]], "keys")
    said = str(encoder.truncated)
    encoder.truncated.reset()
    return said.replace("texts", "bodies", 1)


def _measure(encoder: Any, rows: CodePairs) -> dict[str, Any]:
    """Metric -> (N,) values, one a held-out docstring."""
    from dipole.evaluate.kinds.retrieval import Retrieval
    from dipole.evaluate.task import RetrievalTask

    task = RetrievalTask.from_pairs(rows, "held-out")
    found = Retrieval()(task, lambda texts: encoder.encode(texts, batch_size=64), samples=1000)
    return {name: found.per_item[name] for name in METRICS}


def _train(encoder: Any, rows: CodePairs, settings: Settings, data: str, output: Path, resume: bool) -> None:
    from dipole.losses import InfoNCE
    from dipole.train.recipe import Recipe
    from dipole.train.run import train
    from dipole.train.step import Step
    from dipole.views.aligned import Aligned

    step = Step(
        batch_size=settings.batch_size,
        micro_batch_size=settings.micro_batch_size,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=0.01,
        warmup=0.1,
        seed=settings.seed,
        save_steps=0,
    )
    without_dropout(encoder)
    loss = InfoNCE(temperature=settings.temperature, two_sided=True)
    recipe = Recipe((rows,), Aligned(), encoder, (loss,), step=step, name="demo", text=settings.text(data))
    train(recipe, output, resume=resume)
    encoder.eval()


def without_dropout(encoder: torch.nn.Module) -> None:
    """Switch dropout off: one pass over so few pairs does not overfit, and without it attention takes the fast path on a CPU."""
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def _search(output: Path, halves: Split, settings: Settings) -> tuple[dict[str, Sequence[Hit]], int]:
    """Store functions, the held-out ones first, with the model as it was written, and ask."""
    from dipole.modality.text.load import load_encoder
    from dipole.search.collection import Collection

    model = load_encoder(str(output / "run"))
    rows = [*halves.held_out, *halves.train][: settings.collection_rows or None]
    documents = [
        Document(name, row["positive"], {"docstring": row["anchor"], "file": row["file"], "line": row["line"]})
        for name, row in zip(names_of(rows), rows, strict=True)
    ]
    collection = Collection.rebuild(output / "collection", documents, model, batch_size=64)
    answers = collection.search(QUERIES, model, k=3)
    return dict(zip(QUERIES, answers, strict=True)), len(collection)


def _next(output: Path) -> list[str]:
    return [
        f'dipole search {output / "collection"} "read a file line by line"',
        "dipole index my-index --data FILE        your own texts: JSONL, CSV, TSV, TXT or Parquet",
        "dipole recipes                           the methods there are; dipole train runs one on your data",
        f'SentenceTransformer("{output / "run" / "model"}")   the model, in Python',
    ]


def _figures(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {float(values[name].mean()):.3f}" for name in METRICS)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    from dipole.core.files import replace_text

    replace_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


class _timed:
    """Notes the seconds of a block under a name."""

    def __init__(self, into: dict[str, float], name: str) -> None:
        self.into, self.name = into, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.into[self.name] = round(time.perf_counter() - self.start, 1)
