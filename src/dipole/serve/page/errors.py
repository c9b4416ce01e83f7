"""What goes wrong, as a page in words, where a person asked."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from dipole.core.errors import DipoleError
from dipole.serve.page.rendering import sentence
from dipole.serve.page.view import View, view_of_nobody, view_without

log = logging.getLogger("dipole.serve")

_HEADINGS = {
    401: "A key is needed",
    403: "Not from here",
    404: "Nothing here",
    405: "Not like that",
    408: "Too slow",
    413: "Too much at once",
    414: "Too long an address",
    415: "Not a form",
    421: "Not by this name",
    429: "Too fast",
    503: "Not yet",
}
_SAID = {
    404: "There is no page at this address.",
    405: "This address takes another kind of request.",
    500: "The server failed at this request; its log says why. Nothing of yours was lost.",
}
_AGAIN = 3  # seconds until a page that says "not yet" looks again by itself
_PLAIN = ("Not Found", "Method Not Allowed")  # what routing says by itself


def wants_page(request: Request) -> bool:
    """Whether an error should be a page: a browser asks, and not for what programs ask for."""
    route = request.scope.get("route")
    return "text/html" in request.headers.get("accept", "") and (route is None or not getattr(route, "include_in_schema", True))


def error_page(request: Request, status: int, message: str) -> Response:
    """The error as a page."""
    later = status == 503 and request.method == "GET"
    page = _page(view_without(request), status, message, later)
    if later:
        page.headers["Refresh"] = str(_AGAIN)
    return page


def refusal_page(request: Request, status: int, message: str, headers: Mapping[str, str]) -> Response:
    """What a guard refuses, as a page that says nothing of any collection and gives no cookie: it may be a stranger who asks."""
    page = _page(dataclasses.replace(view_of_nobody(request), fresh=False), status, message)
    page.headers.update({"Cache-Control": "no-store", **headers})
    return page


def _page(view: View, status: int, message: str, later: bool = False) -> Response:
    heading = _HEADINGS.get(status, "Something went wrong" if status >= 500 else "That cannot be answered")
    said = _SAID.get(status, "Try once more.") if status == 500 or not message or message in _PLAIN else message
    context = {"code": status, "heading": heading, "message": sentence(said), "later": later}
    return view.page("error.html.jinja", status, tab="", **context)


class PageRoute(APIRoute):
    """A route of a page: what nobody foresaw is logged, and told in a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except (HTTPException, RequestValidationError, DipoleError):
                raise  # said in words by whoever handles problems
            except Exception:
                if not wants_page(request):
                    raise
                log.exception("%s failed", request.url.path)
                return await run_in_threadpool(error_page, request, 500, "")

        return answered
