"""What the guards have in common: they are ASGI applications around another one, and refuse with a problem document."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    """Answer with a problem; ``headers`` with underscores for hyphens."""
    await problem(status, detail, {name.replace("_", "-"): value for name, value in headers.items()})(scope, receive, send)
