"""``dipole collection``: what a collection holds, its history, and its upkeep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def run(
    folder: Annotated[str, typer.Argument(help="A collection made by: dipole index or dipole ingest; to be read, also s3://...")],
    rollback: Annotated[int, typer.Option(min=0, help="Go back to how it was after this commit.")] = 0,
    delete: Annotated[list[str] | None, typer.Option(help="Take out the document of this id; may be repeated.")] = None,
    compact: Annotated[bool, typer.Option("--compact", help="Write it anew and forget all commits but the last two.")] = False,
    approximate: Annotated[str, typer.Option(help="Build an approximate index: ivf-rq, ivf-sq, ivf-pq, ivf-flat, ivf-hnsw-sq.")] = "",
    recall: Annotated[float, typer.Option(min=0.0, max=1.0, help="The recall@10 the index must be measured to have.")] = 0.95,
    queries: Annotated[Path | None, typer.Option(help="A file of texts as people ask them, to measure that recall with.")] = None,
    to: Annotated[str, typer.Option(help="Bring it to s3://BUCKET/NAME or qdrant:http://host:6333/NAME; only what is new is sent.")] = "",
    duplicates: Annotated[float, typer.Option(min=0.0, max=1.0, help="List groups of documents at least this near (cosine).")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what a collection holds and its commits; roll back, delete, compact, index.

    Example:
      dipole collection papers
      dipole collection papers --approximate ivf-rq --recall 0.97 --queries asked.txt
      dipole collection papers --rollback 3
      dipole collection papers --to s3://bucket/papers
      dipole collection papers --to qdrant:http://localhost:6333/papers
    """
    import dataclasses

    from dipole.search.collection import Collection

    held = Collection.open(folder)
    if rollback:
        held = held.rollback(rollback)
    if delete:
        held = held.delete(delete)
    if compact:
        held = held.compact()
    if approximate:
        asked = _asked(queries, held.model) if queries else 200
        held, built = held.index(approximate, recall, asked, told=lambda text: typer.echo(text, err=True))
        typer.echo(built.text, err=as_json)
    if to:
        typer.echo(_brought(held, to), err=as_json)
    groups = held.near_duplicates(duplicates) if duplicates else []
    commits = held.history()
    if as_json:
        known = dataclasses.asdict(held.manifest)
        print(json.dumps({**known, "commits": [dataclasses.asdict(m) for m in commits], "near_duplicates": groups}, indent=1))
        return
    now = held.manifest
    index = f"approximate, {now.index['kind']}, recall@10 {now.index['recall']:.3f}" if now.index else "exact"
    typer.echo(f"{folder}: {len(held)} documents, vectors of {now.dimension} dimensions ({', '.join(now.vectors)}) by {now.model}; {index}")
    for m in commits:
        typer.echo(f"  commit {m.number}  {m.made}  {m.what}, {m.rows} documents")
    for group in groups:
        typer.echo(f"near-duplicates: {', '.join(group)}")


def _brought(held: Any, to: str) -> str:
    """Copy the collection to Qdrant or object storage; says what was sent."""
    from dipole.core.errors import UsageError
    from dipole.search.places import Remote, place_of
    from dipole.search.publish import publish
    from dipole.search.qdrant import PREFIX, Qdrant

    if to.startswith(PREFIX):
        done = Qdrant.at(to).copy(held)
        return f"{to}: {done.new} new, {done.changed} changed, {done.same} the same, {done.removed} removed"
    place = place_of(to)
    if not isinstance(place, Remote):
        raise UsageError(f"--to {to}: write s3://BUCKET/NAME or qdrant:http://host:6333/NAME")
    made, sent = publish(held.local, place)
    return f"{to}: commit {made.number}, {sent} files sent"


def _asked(file: Path, model: str) -> Any:
    """(N, d) vectors of the texts in a file, as queries of the collection's model."""
    from dipole.modality.text.load import load_encoder
    from dipole.rows.open import open_rows

    return load_encoder(model).encode([row["anchor"] for row in open_rows(file)], side="queries")
