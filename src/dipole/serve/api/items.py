"""``/items``: lists, and one document."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from dipole.serve.api.answers import Item, Page
from dipole.serve.api.asked import Asked, Votes, Where, unless_known
from dipole.serve.settings import Settings

router = APIRouter(tags=["items"])
Order = Literal["newest", "votes", "trending", "stored"]


@router.get("/items", summary="A list of documents")
def items(
    request: Request,
    response: Response,
    held: Asked,
    where: Where,
    votes: Votes,
    order: Annotated[Order, Query(description="trending: votes / (age in days + 2)^1.5.")] = "newest",
    limit: Annotated[int, Query(ge=1, le=Settings.max_page)] = 20,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Page:
    """A part of the list, and the address of the next one."""
    unless_known(request, response, held, votes)
    total = held.collection.count(where)
    found = held.collection.browse(order, limit, offset, where, more_votes=dict(votes))
    more = offset + len(found) < total and found
    url = request.url.include_query_params(offset=offset + limit)
    return Page(
        items=[Item.of(one, votes.get(one.id, 0)) for one in found],
        total=total,
        offset=offset,
        limit=limit,
        next=f"{url.path}?{url.query}" if more else None,
        collection=held.name,
        version=held.version,
    )


@router.get("/items/{id:path}", summary="One document")
def item(
    request: Request,
    response: Response,
    id: Annotated[str, Path(description="The id, with its slashes as they are.", max_length=Settings.max_query_chars)],
    held: Asked,
    votes: Votes,
) -> Item:
    """Everything that is known of it."""
    unless_known(request, response, held, votes)
    found = held.collection.get([id])
    if not found:
        raise HTTPException(404, f"no document of this id is in the collection {held.name!r}")
    return Item.of(found[0], votes.get(id, 0))
