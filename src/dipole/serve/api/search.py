"""``GET /search``: the nearest documents to a query."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from dipole.serve.api.answers import Found, Results
from dipole.serve.held import Held, How

router = APIRouter(tags=["search"])


@router.get("/search", summary="The documents nearest to a query")
def search(
    request: Request,
    q: Annotated[str, Query(description="What to look for, in your own words.", min_length=1, max_length=2000)],
    k: Annotated[int, Query(description="How many answers.", ge=1, le=100)] = 10,
    how: Annotated[How, Query(description="By meaning, by words (BM25), or by both.")] = "meaning",
    collection: Annotated[str, Query(description="Which collection; the first where none is named.")] = "",
) -> Results:
    """Best first; fewer than k where fewer count."""
    held: Held = request.app.state.shelf.get(collection)
    hits = held.search(q, k, how=how)
    note = "" if len(held.collection) else f"the collection {held.name!r} is empty"
    return Results(results=[Found.of_hit(hit) for hit in hits], collection=held.name, version=held.version, note=note)
