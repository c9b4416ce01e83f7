"""What goes wrong, as a page in words, where a person asked."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from dipole.serve.page.view import view_without

_HEADINGS = {
    403: "Not from here",
    404: "Nothing here",
    405: "Not like that",
    413: "Too much at once",
    415: "Not a form",
    429: "Too fast",
    503: "Not yet",
}
_SAID = {
    404: "There is no page at this address.",
    405: "This address takes another kind of request.",
    500: "The server failed at this request; its log says why. Nothing of yours was lost.",
}
_PLAIN = ("Not Found", "Method Not Allowed")  # what routing says by itself


def wants_page(request: Request) -> bool:
    """Whether an error should be a page: a browser asks, and not for what programs ask for."""
    route = request.scope.get("route")
    return "text/html" in request.headers.get("accept", "") and (route is None or not getattr(route, "include_in_schema", True))


def error_page(request: Request, status: int, message: str) -> HTMLResponse:
    """The error as a page."""
    heading = _HEADINGS.get(status, "Something went wrong" if status >= 500 else "That cannot be answered")
    said = _SAID.get(status, "Try once more.") if status == 500 or not message or message in _PLAIN else message
    said = said[:1].upper() + said[1:]
    return view_without(request).page("error.html.jinja", status, tab="", code=status, heading=heading, message=said)
