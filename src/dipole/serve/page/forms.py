"""What people send: votes, saved, read, the theme. Plain forms, so that they work without a script; each proves where it is from."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from dipole.core.addresses import own_address
from dipole.serve.page.errors import PageRoute
from dipole.serve.page.rendering import brief
from dipole.serve.page.view import THEME, Asked
from dipole.serve.state import KINDS

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_FORM = "application/x-www-form-urlencoded"
_FIELDS = 50
_DEEDS = {**{kind: (kind, True) for kind in KINDS}, **{f"un{kind}": (kind, False) for kind in KINDS}}


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent. Raises 415 for another kind of body, 400 for one that cannot be read."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(415, f"A form is sent as {_FORM}.")
    try:
        body = (await request.body()).decode("ascii")
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS, errors="strict"))
    except ValueError:
        raise HTTPException(400, "The form could not be read.") from None


Form = Annotated[dict[str, str], Depends(form_of)]


def genuine(view: Asked, form: Form) -> dict[str, str]:
    """The form, once it is certain that a page of this site gave it to this visitor. Raises 403 where not."""
    if view.fresh:
        raise HTTPException(403, "Your browser sent no cookie of this site. Allow it, go back, load the page again, and try once more.")
    if not view.desk.visitors.genuine(view.visitor, form.get("token", "")):
        raise HTTPException(403, "This form is too old or came from elsewhere. Go back, load the page again, and try once more.")
    return form


Genuine = Annotated[dict[str, str], Depends(genuine)]


@router.post("/mark")
def mark(view: Asked, form: Genuine) -> Response:
    """Vote, save or mark as read, or take it back: ``do`` is vote, unvote, save, unsave, read or unread."""
    id, deed = form.get("id", ""), _DEEDS.get(form.get("do", ""))
    if deed is None:
        raise HTTPException(400, f"“do” must be one of {', '.join(_DEEDS)}.")
    found = view.collection.get([id])
    if not found:
        raise HTTPException(404, "No document of this name is in the collection; it may have been taken out.")
    votes = found[0].votes + view.desk.state.mark(view.visitor, view.name, id, *deed)
    if "application/json" in view.request.headers.get("accept", ""):
        return JSONResponse({"id": id, "kind": deed[0], "on": deed[1], "votes": votes, "shown": brief(votes)})
    return RedirectResponse(own_address(form.get("next", ""), view.link("/", collection="")), 303)


@router.post("/forget")
def forget(view: Asked, form: Genuine) -> Response:
    """Take back everything this browser did."""
    view.desk.state.forget(view.visitor)
    return RedirectResponse(view.link("/saved"), 303)


@router.post("/theme")
def theme(view: Asked, form: Genuine) -> Response:
    """Light or dark, from now on."""
    response = RedirectResponse(own_address(form.get("next", ""), view.link("/", collection="")), 303)
    if form.get("theme") in ("light", "dark"):
        view.remember(response, THEME, form["theme"])
    return response
