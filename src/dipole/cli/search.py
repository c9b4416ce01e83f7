"""``dipole search``: ask a collection."""

from __future__ import annotations

import datetime
import json
from typing import Annotated

import typer


def run(
    folder: Annotated[
        str, typer.Argument(help="A collection made by: dipole index or dipole ingest; also s3://... and qdrant:http://host:6333/NAME")
    ],
    query: Annotated[str, typer.Argument(help="What to look for, in your own words.")] = "",
    k: Annotated[int, typer.Option("-k", "--top", help="How many answers.", min=1)] = 10,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Meaning and words together, by reciprocal rank fusion.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Only by the words (BM25), without a model.")] = False,
    late: Annotated[bool, typer.Option("--late", help="The nearest in the order of their tokens' vectors (late interaction).")] = False,
    like: Annotated[str, typer.Option(help="More like the document of this id, instead of a query.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag; may be repeated.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="Only where name=value; may be repeated.")] = None,
    after: Annotated[datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only from this day on.")] = None,
    before: Annotated[datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only up to this day.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Go round an approximate index.")] = False,
    model: Annotated[str, typer.Option(help="The model for the query; must be the collection's. [default: the collection's]")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """Find the texts of a collection that are nearest to a query. The answer is exact, unless an index was built.

    Example:
        dipole search my-index "how do I get my money back?" -k 5
        dipole search papers "graph transformers" --hybrid --tag cs.LG --after 2026-01-01 --json
        dipole search papers --like 2101.00001
    """
    from dipole.core.errors import UsageError
    from dipole.modality.text.load import load_encoder
    from dipole.search.collection import Collection
    from dipole.search.filters import Filter, parse_fields
    from dipole.search.show import hits_as_json, print_hits

    ways = [name for name, asked in (("--hybrid", hybrid), ("--words", words), ("--late", late), ("--like", bool(like))) if asked]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)} are different ways to search; give one of them")
    if bool(query.strip()) == bool(like):
        raise UsageError("give either a query or --like ID")
    try:
        f"{query}{like}".encode()
    except UnicodeEncodeError:
        raise UsageError("what is asked for must be UTF-8; the terminal gave bytes that are none") from None
    first, last = (None if day is None else day.date() for day in (after, before))
    where = Filter(after=first, before=last, tags=tuple(tag or ()), fields=parse_fields(field or []))
    if folder.startswith("qdrant:"):
        from dipole.search.qdrant import Qdrant

        if ways:
            raise UsageError(f"a collection in Qdrant is searched by meaning; leave {ways[0]} out")
        collection: Collection | Qdrant = Qdrant.at(folder)
    else:
        collection = Collection.open(folder)
    if isinstance(collection, Collection) and words:
        hits = collection.search_words(query, k, where)
    elif isinstance(collection, Collection) and like:
        hits = collection.similar(like, k, where, exact=exact)
    else:
        encoder = load_encoder(model or collection.model)
        if isinstance(collection, Collection) and hybrid:
            hits = collection.search_hybrid(query, encoder, k, where, exact=exact)
        elif isinstance(collection, Collection) and late:
            hits = collection.search_late(query, encoder, k, where, exact=exact)
        else:
            hits = collection.search([query], encoder, k, where, exact=exact)[0]
    if as_json:
        typer.echo(json.dumps({"query": query, "model": collection.model, "results": hits_as_json(hits)}, ensure_ascii=False, indent=1))
    elif hits:
        print_hits(query or f"more like {like}", hits)
    if not len(collection):
        typer.echo(f"{folder} is empty; add to it with: dipole index {folder} --data FILE --append", err=True)
    elif not hits:
        typer.echo("nothing found", err=True)
