"""``dipole train``: a recipe on your own data, to a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dipole.assembly.spec import Spec


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's id or file; `dipole recipes` lists them.", metavar="RECIPE")],
    out: Annotated[Path, typer.Option(help="The run folder: log, checkpoints and, at the end, model/.")],
    data: Annotated[Path | None, typer.Option(help="A JSONL, CSV, TSV, TXT or Parquet file, or a folder of them.")] = None,
    model: Annotated[str, typer.Option(help="What to start from: minilm, a folder, a run folder or a hub id.")] = "",
    variant: Annotated[str, typer.Option(help="One of the recipe's variants.")] = "",
    change: Annotated[list[str] | None, typer.Option("--set", help="slot.parameter=value, as often as needed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    keep: Annotated[int, typer.Option(min=1, help="How many checkpoints to keep.")] = 2,
    stop_on: Annotated[str, typer.Option(metavar="ALARM,ALARM", help="End the run, checkpoint saved, at one of these alarms.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on stdout.")] = False,
) -> None:
    """Train an encoder with a recipe on your own data.

    Columns are found by name (anchor/query/question, positive/answer, negative, label); --set rows.columns=... says more.
    Ctrl-C saves; --resume goes on exactly where it stopped. Under torchrun, all processes share each batch.
    What goes wrong is said as it happens (collapse, saturation, a NaN ...); docs/doctor.md lists these alarms for --stop-on.

    Example:
      dipole train clip-pairs --data pairs.jsonl --out runs/first --set step.num_train_epochs=3
    """
    from dipole.assembly.build import build, check
    from dipole.train.doctor.watch import Doctor
    from dipole.train.run import train

    doctor = Doctor(stop_on=[name.strip() for name in stop_on.split(",") if name.strip()])
    spec = with_data(recipe, variant, change or [], data, model)
    check(spec)
    summary = train(build(spec), out, resume=resume, keep=keep, doctor=doctor)
    if as_json:
        print(json.dumps(summary.json(), indent=1))
        return
    first, last = summary.losses
    print(f"{summary.steps} steps over {summary.rows} rows in {summary.seconds:.1f} s; loss {first:.4f} -> {last:.4f}")
    if summary.truncated and not summary.truncated.startswith("0 of"):
        print(f"truncated: {summary.truncated}")
    for alarm in summary.alarms:
        print(f"warning: {alarm}")
    print(f"model: {summary.model}" if summary.model else f"weights: {out / 'checkpoints'}")


def with_data(recipe: str, variant: str, change: list[str], data: Path | None, model: str) -> Spec:
    """The recipe a command line names, with its data and model in place."""
    from dipole.assembly.spec import load

    spec = load(recipe, variant, change)
    if data is not None:
        rows = spec.parts.get("rows", [{}])[0]
        path = {"path": str(data)} if "path" in _parameters(rows.get("use", "")) else {"use": "file", "path": str(data)}
        spec = spec.changed({"rows": path}, "--data")
    return spec.changed({"encoder": {"model": model}}, "--model") if model else spec


def _parameters(use: str) -> list[str]:
    from dipole.assembly.discover import discover
    from dipole.core.part import schema

    found = discover("rows").get(use)
    return [p.name for p in schema(found.load())] if found else []
