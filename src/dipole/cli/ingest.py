"""``dipole ingest``: files as they are found, into a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(help="The collection: a new folder, or one made by dipole.", metavar="DIR")],
    files: Annotated[list[Path], typer.Argument(help="Files and folders to read.", metavar="FILE...")],
    model: Annotated[str, typer.Option(help="minilm, a folder, a run folder or a hub id. [default: the collection's, or minilm]")] = "",
    listing: Annotated[bool, typer.Option("--listing", help=".txt files are saved listing pages of papers.")] = False,
    batch_size: Annotated[int, typer.Option(help="Texts encoded at a time.", min=1)] = 32,
    json: Annotated[Path | None, typer.Option("--json", help="Write what became of everything here.")] = None,
) -> None:
    """Read files of many kinds into a collection: add what is new, replace what changed, leave what is the same.

    JSONL, CSV, TSV, Parquet, BibTeX, RSS, Atom, arXiv XML, OPML, Markdown, text, PDF, Python, saved listing pages of papers;
    folders with all of these. What cannot be read is skipped, counted and told with the reason.

    Example:
      dipole ingest papers arxiv.xml references.bib notes/ --json report.json
    """
    from dipole.core.extras import need
    from dipole.evaluate.report import write_json
    from dipole.modality.text.load import load_encoder
    from dipole.search import manifest
    from dipole.search.collection import Collection
    from dipole.search.ingest import ingest

    present = Collection.open(folder) if manifest.exists(folder) else None
    encoder = load_encoder(model or ("minilm" if present is None else present.model))
    bar = need("tqdm", "train", "a progress bar").tqdm(desc="read", unit="document", disable=None)
    made, report = ingest(folder, files, encoder, listing=listing, batch_size=batch_size, told=lambda done: bar.update(done - bar.n))
    bar.close()
    if json is not None:
        write_json(json, report.json())
    found = f"{report.new} new, {report.changed} changed, {report.same} the same, {len(report.refused)} refused"
    again = f"; {report.repeated} came twice, the last one counts" if report.repeated else ""
    typer.echo(f"{folder}: {found}; {len(made)} documents in all{again}")
    for one in report.refused[:20]:
        typer.echo(f"refused: {one.place}: {one.why}", err=True)
    if len(report.refused) > 20:
        typer.echo(f"and {len(report.refused) - 20} more" + (f", in {json}" if json else "; --json FILE lists all"), err=True)
