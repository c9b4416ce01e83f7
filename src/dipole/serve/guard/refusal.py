"""What the guards have in common: they are ASGI applications around another one, and refuse in words: people with a page, programs
with a problem document.
"""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dipole.serve.page.errors import refusal_page, wants_page

__all__ = ["ASGIApp", "Message", "Receive", "Scope", "Send", "header", "problem", "refuse"]

FREE = "/health"  # answered also to those who ask too often, and when everything is busy: it says whether to send more
MEDIA = "application/problem+json"


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """An answer that says what went wrong; ``more`` are further members of the document."""
    content = {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, {"Cache-Control": "no-store", **(headers or {})}, media_type=MEDIA)


def header(scope: Scope, name: bytes) -> str:
    """A header's value; empty where it was not sent."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, detail: str, **headers: str) -> None:
    """Answer with a page or a problem; ``headers`` with underscores for hyphens."""
    request, said = Request(scope), {name.replace("_", "-"): value for name, value in headers.items()}
    answer = refusal_page(request, status, detail, said) if wants_page(request) else problem(status, detail, said)
    await answer(scope, receive, send)
