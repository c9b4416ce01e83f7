"""``dipole evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    model: Annotated[str, typer.Argument(help="minilm, a model folder, a run folder, or a hub id.")],
    task: Annotated[list[str] | None, typer.Option(help="KIND:PLACE or NAME=KIND:PLACE; may be repeated.")] = None,
    suite: Annotated[Path | None, typer.Option(help="A TOML file of tasks and their options.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here: {task name: {metric: value, ...}}.")] = None,
    per_item: Annotated[
        Path | None, typer.Option("--per-item", "--per-query", help="Write one Parquet file a task, one row an item, into this folder.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts encoded at once.")] = 32,
    max_tokens: Annotated[int, typer.Option(min=0, help="Cut texts to this length; 0 for the model's own limit.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of every draw.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar, no table.")] = False,
) -> None:
    """Measure a model on files of many kinds (retrieval, similarity, classification ...), with 95% intervals.

    A task is KIND:PLACE: docs/evaluate.md has every kind with the files it reads. Options of a kind are set in a suite file. A task's
    key in the JSON is its name, or the whole text of the option where it has none.

    Example:
        dipole evaluate minilm --task sts:stsb.tsv --task scifact=retrieval:scifact --json figures.json
    """
    import sys

    from rich.console import Console

    from dipole.evaluate.report import remarks, table, write_json
    from dipole.evaluate.run import evaluate_encoder, read_tasks
    from dipole.modality.load import open_encoder

    tasks = read_tasks(task or [], suite)
    encoder = open_encoder(model, max_tokens=max_tokens)
    progress = not quiet and sys.stderr.isatty()
    found = evaluate_encoder(encoder, tasks, batch_size=batch_size, seed=seed, progress=progress, per_item=per_item)
    if json is not None:
        write_json(json, {name: entry | {"model_name": model} for name, entry in found.items()})
    if quiet:
        return
    console = Console()
    console.print(table(found))
    for name, entry in found.items():
        for remark in remarks(entry):
            console.print(f"{name}: {remark}", style="yellow", highlight=False, markup=False)
