"""The page put together: what ``create_app`` puts in."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import Response

from dipole.serve.page import feeds, find, forms, lists, maps
from dipole.serve.page.errors import PageRoute
from dipole.serve.page.rendering import assets
from dipole.serve.page.view import YEAR, Asked, Desk
from dipole.serve.settings import Settings

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A file of the page's own. Its address changes with its content, so it may be kept for good."""
    asset = assets().get(name)
    if asset is None:
        raise HTTPException(404, "There is no such file.")
    return Response(asset.content, media_type=asset.kind, headers={"Cache-Control": f"public, max-age={YEAR}, immutable"})


@router.get("/favicon.ico")
def favicon() -> Response:
    """For who asks without reading the page."""
    return static("icon.svg")


@router.get("/help")
def keys(view: Asked) -> Response:
    """The keys."""
    return view.page("help.html.jinja", tab="")


for part in (lists, find, forms, maps, feeds):
    router.include_router(part.router)


def install(app: FastAPI, settings: Settings) -> None:
    """Put the page into an application whose ``state.shelf`` and ``state.settings`` are there."""
    app.state.desk = Desk(settings)
    app.include_router(router)
