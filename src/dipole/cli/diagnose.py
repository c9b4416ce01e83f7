"""``dipole diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    model: Annotated[str, typer.Argument(help="minilm, a model folder, a run folder, or a hub id.")],
    data: Annotated[Path | None, typer.Option(help="Rows to look at: pairs, or plain texts. A run folder can do without.")] = None,
    second: Annotated[str, typer.Option("--model-b", help="Another model, to compare how both see these rows.")] = "",
    json: Annotated[Path | None, typer.Option("--json", help="Write every figure and verdict here.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures here; it opens offline.")] = None,
    sample: Annotated[int, typer.Option(min=2, help="Rows to look at; where there are more, that many are drawn.")] = 5000,
    how: Annotated[str, typer.Option("--map", help="The map of the vectors: pca, or umap (extra 'map').")] = "pca",
    batch_size: Annotated[int, typer.Option(min=1, help="Items encoded at once.")] = 32,
    max_tokens: Annotated[int, typer.Option(min=0, help="Cut texts to this length; 0 for the model's own limit.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar, no table.")] = False,
) -> None:
    """Say what is healthy about a model's vectors, what is not, and what to try.

    Columns are found by name: pairs need an anchor and a positive; negatives, labels and scores are used where there are. A run folder
    shows its training, too: loss against log N, rank, alarms. docs/diagnostics.md defines every figure.

    Example:
        dipole diagnose minilm --data pairs.jsonl --html report.html --json report.json
    """
    import sys

    from rich.console import Console

    from dipole.core.errors import UnknownNameError
    from dipole.evaluate.report import write_json
    from dipole.report.diagnose import diagnose_files
    from dipole.report.inputs import Options
    from dipole.report.maps import MAPS
    from dipole.report.terminal import show

    if how not in MAPS:
        raise UnknownNameError("map", how, MAPS, "diagnose: --map")
    options = Options(sample, batch_size, max_tokens, seed, how, progress=not quiet and sys.stderr.isatty())
    report = diagnose_files(model, data, second, options)
    if json is not None:
        write_json(json, report.json())
    if html is not None:
        report.write_html(html)
    if quiet:
        return
    show(Console(), report.facts, report.verdicts, report.notes)
    for written in (path for path in (json, html) if path is not None):
        print(f"written: {written}")
