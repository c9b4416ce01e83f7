"""``dipole check``: prove on your own recipe and data that cached, distributed, compiled and resumed training are exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's id or file; `dipole recipes` lists them.", metavar="RECIPE")],
    data: Annotated[Path | None, typer.Option(help="A JSONL, CSV, TSV, TXT or Parquet file, or a folder of them.")] = None,
    model: Annotated[str, typer.Option(help="The encoder: minilm, a folder, a run folder or a hub id.")] = "",
    variant: Annotated[str, typer.Option(help="One of the recipe's variants.")] = "",
    change: Annotated[list[str] | None, typer.Option("--set", help="slot.parameter=value, as often as needed.")] = None,
    rows: Annotated[int, typer.Option(min=4, help="Rows a batch.")] = 16,
    ranks: Annotated[int, typer.Option(min=2, help="Processes to compare with one.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON on stdout.")] = False,
) -> None:
    """Compare gradient caching, several processes, compiled tiles, streaming and resuming with the plain way.

    Every line is a relative difference of gradients on your own encoder and a few of your own batches. Exit code 1 where
    one is too large.

    Example:
      dipole check clip-pairs --data pairs.jsonl --ranks 2
    """
    from dipole.assembly.build import build
    from dipole.cli.train import with_data
    from dipole.train.check import check

    report = check(build(with_data(recipe, variant, change or [], data, model)), rows=rows, ranks=ranks)
    if as_json:
        print(json.dumps(report.json(), indent=1))
    else:
        _show(report)
    if not report.passed:
        raise typer.Exit(1)


def _show(report: object) -> None:
    from rich.console import Console
    from rich.table import Table

    from dipole.train.check import Report

    assert isinstance(report, Report)
    table = Table("comparison", "difference", "at most", "verdict")
    for f in report.findings:
        verdict = {True: "equal", False: "DIFFERENT", None: "not run"}[f.passed]
        table.add_row(f.name, "-" if f.passed is None else f"{f.difference:.1e}", f"{f.tolerance:.0e}" if f.tolerance else "0", verdict)
    console = Console()
    console.print(table)
    for f in report.findings:
        if f.remedy:
            console.print(f"{f.name}: {f.remedy}", markup=False)
        elif f.passed is None:
            console.print(f"{f.name}: {f.note}", markup=False)
