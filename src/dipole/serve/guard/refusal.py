"""What the guards have in common: they are ASGI applications around another one, and refuse with a problem document."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dipole.serve.problems import problem

__all__ = ["ASGIApp", "Message", "Receive", "Scope", "Send", "header", "refuse"]

FREE = "/health"  # answered also to those who ask too often, and when everything is busy: it says whether to send more


def header(scope: Scope, name: bytes) -> str:
    """A header's value; empty where it was not sent."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, detail: str, **headers: str) -> None:
    """Answer with a problem; ``headers`` with underscores for hyphens."""
    await problem(status, detail, {name.replace("_", "-"): value for name, value in headers.items()})(scope, receive, send)
