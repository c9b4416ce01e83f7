"""``GET /collections``: what is served."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request

from dipole.serve.api.answers import Collections, Shown
from dipole.serve.held import Held

router = APIRouter(tags=["server"])


@router.get("/collections", summary="The collections served")
def collections(request: Request) -> Collections:
    """In alphabetical order."""
    request.app.state.shelf.get()
    return Collections(collections=[_shown(held) for held in request.app.state.shelf.all()])


def _shown(held: Held) -> Shown:
    known = held.collection.manifest
    return Shown(
        name=held.name,
        rows=known.rows,
        model=Path(known.model).name,  # a model in a folder is called by the folder's name, not by where it lies
        dimension=known.dimension,
        vectors=list(known.vectors),
        commit=known.number,
        made=known.made,
        version=held.version,
        approximate=bool(known.index),
        recall=known.index.get("recall"),
    )
