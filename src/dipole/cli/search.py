"""``dipole search``: ask a collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(help="A collection made by: dipole index")],
    query: Annotated[str, typer.Argument(help="What to look for, in your own words.")],
    k: Annotated[int, typer.Option("-k", "--top", help="How many answers.", min=1)] = 10,
    model: Annotated[str, typer.Option(help="The model for the query; must be the collection's. [default: the collection's]")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """Find the texts of a collection that are nearest to a query. The answer is exact.

    Example:
        dipole search my-index "how do I get my money back?" -k 5
        dipole search my-index "how do I get my money back?" --json
    """
    from dipole.modality.text.load import load_encoder
    from dipole.search.collection import Collection
    from dipole.search.show import hits_as_json, print_hits

    collection = Collection.open(folder)
    hits = collection.search([query], load_encoder(model or collection.model), k)[0]
    if as_json:
        typer.echo(json.dumps({"query": query, "model": collection.model, "results": hits_as_json(hits)}, ensure_ascii=False, indent=1))
    elif hits:
        print_hits(query, hits)
    if not len(collection):
        typer.echo(f"{folder} is empty; add to it with: dipole index {folder} --data FILE --append", err=True)
