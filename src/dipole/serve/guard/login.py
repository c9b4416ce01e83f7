"""The form that asks people for the key."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dipole.core.addresses import own_address
from dipole.serve.cookies import give
from dipole.serve.guard.key import DAYS, Sessions
from dipole.serve.guard.known import COOKIE
from dipole.serve.guard.rate import client
from dipole.serve.page.view import view_of_nobody

router = APIRouter(include_in_schema=False)


@router.get("/login")
def form(request: Request, next: str = "/") -> Response:
    """The form."""
    return _page(request, next)


@router.post("/login")
async def enter(request: Request) -> Response:
    """The right key gives a cookie that lasts 30 days and leads back to where somebody wanted to go."""
    sent = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
    key, then = sent.get("key", [""])[0].strip(), sent.get("next", ["/"])[0]
    settings = request.app.state.settings
    if settings.api_key:
        sessions = Sessions(settings.api_key)
        if not sessions.right(key):
            slow = request.app.state.wrong_keys.take(client(request.scope)) > 0
            return _page(request, then, "Too many wrong keys; wait a minute." if slow else "That is not the key.", 429 if slow else 401)
    answer = RedirectResponse(own_address(then), 303, {"Cache-Control": "no-store"})
    if settings.api_key:
        give(request, answer, COOKIE, sessions.new(), DAYS * 24 * 3600)
    return answer


@router.post("/logout")
def leave(request: Request) -> Response:
    """Forget the cookie, and let the browser forget the pages it keeps for its Back button."""
    answer = RedirectResponse("/login", 303, {"Cache-Control": "no-store", "Clear-Site-Data": '"cache"'})
    give(request, answer, COOKIE, "", 0)
    return answer


def _page(request: Request, next: str, said: str = "", status: int = 200) -> Response:
    page = view_of_nobody(request).page("login.html.jinja", status, next=own_address(next), said=said)
    page.headers["Cache-Control"] = "no-store"
    return page
