"""``dipole index``: texts of a file into a collection that can be searched."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dipole.core.errors import UsageError


def run(
    folder: Annotated[Path, typer.Argument(help="The collection: a new folder, or one made by this command.")],
    data: Annotated[Path, typer.Option("--data", help="A JSONL, CSV, TSV, TXT or Parquet file, or a folder of them.")],
    model: Annotated[str, typer.Option(help="minilm, a model folder, a run folder or a hub id. [default: minilm]")] = "",
    text: Annotated[str, typer.Option(help="The column to search in; without it, it is found by its name.")] = "",
    id: Annotated[str, typer.Option("--id", help="The column that holds unique ids; without it, rows are counted.")] = "",
    vector: Annotated[str, typer.Option(help="A column of vectors, stored as they are; --model then names their model.")] = "",
    vectors: Annotated[
        list[str] | None, typer.Option(help="Kept besides the text's: title, tokens (late interaction); may be repeated.")
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the collection.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Replace the collection; the old one answers until then.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Spread the work over a Ray cluster; by default one of this machine's cores.")] = False,
    ray_address: Annotated[str, typer.Option(help="The cluster to use: host:port, auto, ray://host:port. Implies --ray.")] = "",
    batch_size: Annotated[int, typer.Option(help="Texts encoded at a time.", min=1)] = 32,
) -> None:
    """Encode the texts of a file and store them as a collection.

    The folder either holds the whole new collection afterwards or what it held before, whatever happens meanwhile.

    Example:
        dipole index my-index --data faq.csv --text answer
        dipole index my-index --data more.csv --text answer --append
        dipole index theirs --data rows.parquet --vector embedding --model their-model
        dipole index papers --data papers --ray-address 10.0.0.1:6379
        dipole search my-index "how do I get my money back?"
    """
    if append and rebuild:
        raise UsageError("--append adds, --rebuild replaces; give one of them")
    if vectors and (append or vector):
        raise UsageError("--vectors says what a new collection keeps; leave it out with --append and --vector")
    spread = ray or bool(ray_address)
    if spread and (append or vector):
        raise UsageError("--ray encodes a whole new collection; leave --append and --vector out, or --ray")
    from dipole.core.extras import need
    from dipole.core.files import lasting
    from dipole.modality.text.load import load_encoder
    from dipole.rows.open import open_rows
    from dipole.search import manifest
    from dipole.search.collection import Collection
    from dipole.search.documents import documents_of
    from dipole.search.given import blocks_of_rows

    tqdm = need("tqdm", "train", "a progress bar").tqdm
    start = time.perf_counter()
    present = Collection.open(folder) if append else None
    if manifest.exists(folder) and not (append or rebuild):
        raise UsageError(f"{folder} already is a collection; add to it with --append, or replace it with --rebuild")
    rows = open_rows(data, anchor=text, id=id)
    typer.echo(f"columns: {rows.mapping.text()}", err=True)
    if vector:
        blocks = blocks_of_rows(rows, vector, data, 0 if present is None else len(present))
        if present is not None and model and model != present.model:
            raise UsageError(f"{folder} holds vectors of {present.model!r}; vectors of {model!r} cannot be added")
        made = Collection.store(folder, blocks, model or "unnamed") if present is None else present.append_vectors(blocks)
        typer.echo(f"{folder}: {len(made)} texts with vectors of {made.model} in {time.perf_counter() - start:.1f} s")
        return
    if spread:
        from dipole.search.on_ray import rebuild as rebuild_on_ray

        read = partial(open_rows, data.resolve(), anchor=text, id=id)
        with tqdm(total=len(rows), desc="index", unit="text", disable=None) as bar:
            made = rebuild_on_ray(
                folder,
                read,
                partial(load_encoder, lasting(model or "minilm")),
                path=data,
                address=ray_address,
                batch_size=batch_size,
                vectors=vectors or (),
                told=bar.update,
            )
        typer.echo(f"{folder}: {len(made)} texts by {made.model} in {time.perf_counter() - start:.1f} s")
        return
    encoder = load_encoder(model or ("minilm" if present is None else present.model))
    shown = tqdm(rows, desc="index", unit="text", disable=None)
    documents = documents_of(shown, data, 0 if present is None else len(present))
    new = partial(Collection.rebuild, folder, vectors=vectors or ())
    made = (new if present is None else present.append)(documents, encoder, batch_size=batch_size)
    seconds = time.perf_counter() - start
    typer.echo(f"{folder}: {len(made)} texts by {made.model} in {seconds:.1f} s; {encoder.truncated}")
    typer.echo(f'next: dipole search {folder} "your question"')
