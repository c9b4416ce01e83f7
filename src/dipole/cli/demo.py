"""``dipole demo``: the main job on real input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    fast: Annotated[bool, typer.Option("--fast", help="Less data: 90 seconds at most on two cores, instead of 6 minutes.")] = False,
    output: Annotated[Path, typer.Option(help="Where the run, the model and the collection go.")] = Path("dipole-demo"),
    data: Annotated[str, typer.Option(help="A folder of Python files. [default: this Python's own library]")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.", metavar="FILE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="Order of the rows and dropout.", min=0)] = 0,
) -> None:
    """Fine-tune a packaged model for code search, measure what it gained on files it has not seen, and search.

    Needs no network. An earlier demo in the output folder is replaced; any other content is left alone and refused.

    Example:
        dipole demo --fast
        dipole demo --json figures.json
    """
    from dataclasses import replace

    from dipole.core.errors import UsageError
    from dipole.core.files import replace_text
    from dipole.demo.run import run_demo
    from dipole.demo.settings import FAST, FULL

    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise UsageError(f"--json {json_file}: there is no such folder")
    settings = replace(FAST if fast else FULL, seed=seed)
    report = run_demo(output, settings, data, resume, say=lambda line: typer.echo(line))
    if json_file is not None:
        replace_text(json_file, json.dumps(report.to_json(), indent=1) + "\n")
