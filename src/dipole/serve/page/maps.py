"""The page of the map, and its points."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from dipole.serve.page.atlas import LEAST
from dipole.serve.page.errors import PageRoute
from dipole.serve.page.view import Asked

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_WAIT = 2.0  # seconds that the page waits for its first map, so that a small collection's is there at once


@router.get("/map")
def the_map(view: Asked) -> Response:
    """The map, and the same as a list of regions."""
    atlas = view.desk.atlases.of(view.held, _WAIT) if view.held and view.size >= LEAST else None
    return view.page("map.html.jinja", tab="map", atlas=atlas)


@router.get("/map/points")
def points(view: Asked) -> Response:
    """The points, as JSON; 202 while they are being drawn."""
    if not view.held or view.size < LEAST:
        return JSONResponse({"about": "", "regions": [], "points": []})
    atlas = view.desk.atlases.of(view.held)
    if atlas is None:
        return JSONResponse({"drawing": True}, 202, {"Cache-Control": "no-store"})
    return JSONResponse(atlas.json(), headers={"Cache-Control": "private, no-cache"})
