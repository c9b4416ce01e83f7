"""``/search`` and ``/similar``: the documents nearest to a query, or to another document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from dipole.search.documents import Hit
from dipole.serve.api.answers import Found, Results
from dipole.serve.api.asked import Asked, K, Votes, Where, unless_known
from dipole.serve.held import Held, How
from dipole.serve.settings import Settings

router = APIRouter(tags=["search"])


@router.get("/search", summary="The documents nearest to a query")
def search(
    request: Request,
    response: Response,
    q: Annotated[str, Query(description="What to look for, in your own words.", min_length=1, max_length=Settings.max_query_chars)],
    held: Asked,
    where: Where,
    votes: Votes,
    k: K = 10,
    how: Annotated[How, Query(description="By meaning, by words (BM25), or by both.")] = "meaning",
) -> Results:
    """Best first; fewer than k where fewer count. An empty collection answers an empty list, and a note that says so."""
    unless_known(request, response, held, votes)
    return _results(held, held.search(q, k, where, how), votes)


@router.get("/similar/{id:path}", summary="More like a document")
def similar(
    request: Request,
    response: Response,
    id: Annotated[str, Path(description="The document's id, with its slashes as they are.", max_length=Settings.max_query_chars)],
    held: Asked,
    where: Where,
    votes: Votes,
    k: K = 10,
) -> Results:
    """The nearest to the document's own vector, itself left out."""
    unless_known(request, response, held, votes)
    hits = held.similar(id, k, where)
    if hits is None:
        raise HTTPException(404, f"no document of this id is in the collection {held.name!r}")
    return _results(held, hits, votes)


@router.get("/similar", summary="More like a document whose id an address cannot hold")
def similar_to(
    request: Request,
    response: Response,
    id: Annotated[str, Query(description="The document's id.", max_length=Settings.max_query_chars)],
    held: Asked,
    where: Where,
    votes: Votes,
    k: K = 10,
) -> Results:
    """The same, for ids such as ``..`` that clients take for steps in an address."""
    return similar(request, response, id, held, where, votes, k)


def _results(held: Held, hits: list[Hit], votes: Mapping[str, int]) -> Results:
    note = "" if len(held.collection) else f"the collection {held.name!r} is empty"
    found = [Found.of_hit(hit, votes.get(hit.id, 0)) for hit in hits]
    return Results(results=found, collection=held.name, version=held.version, note=note)
