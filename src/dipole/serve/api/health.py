"""``GET /health``: whether requests are answered."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from dipole.serve.api.answers import Health
from dipole.serve.guard.known import knows_key

router = APIRouter(tags=["server"])


@router.get("/health", summary="Whether the server is ready", responses={503: {"model": Health, "description": "Not yet ready."}})
def health(request: Request, response: Response) -> Health:
    """200 once every collection is open; 503 with the reason before. What is refused is told to who knows the key."""
    shelf = request.app.state.shelf
    if not shelf.ready:
        response.status_code = 503
        return Health(status="loading", reason="the collections and their models are being opened")
    return Health(status="ready", refused=shelf.refused if knows_key(request.scope) else {})
