"""The one way in which cookies are given: to this site alone, unseen by scripts, and over https alone where people come by https."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from dipole.serve.settings import Settings


def give(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    """A cookie for so long; 0 takes it away."""
    settings: Settings = request.app.state.settings
    secure = settings.encrypted or request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure, path="/")
