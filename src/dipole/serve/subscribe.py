"""Subscribing to digests by mail: the form, the page that a confirmation's link leads to, and the way out.

Links in mails are opened by programs too (scanners, previews), so a GET shows a page with a button and changes nothing. A POST to an
unsubscription's link needs nothing but the link, as RFC 8058 wants it of mail readers.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import Response

from dipole.core.errors import UsageError
from dipole.digest import arrivals
from dipole.digest.links import LinkError
from dipole.digest.office import Office
from dipole.digest.postman import Postman
from dipole.digest.signup import TooManyError
from dipole.digest.store import DAILY, Subscription
from dipole.search import manifest
from dipole.serve.guard.rate import client
from dipole.serve.page.errors import PageRoute
from dipole.serve.page.forms import Genuine
from dipole.serve.page.rendering import sentence
from dipole.serve.page.view import Asked
from dipole.serve.settings import Settings

router = APIRouter(include_in_schema=False, route_class=PageRoute)
TRAP = "fax"  # a field that people do not see, and programs that fill in everything do


def install(app: FastAPI, settings: Settings) -> None:
    """Put the routes into an application that has the page's. Raises UsageError, DataError for mail settings that are wrong."""
    app.state.office = Office.open(settings.folder, base_url=settings.base_url, state=settings.state_folder)
    app.state.postman = Postman(app.state.office)
    app.state.metrics.count_mail(app.state.postman)
    app.state.postman.nudge()  # what waits from before
    app.include_router(router)


@router.post("/subscribe")
def subscribe(view: Asked, form: Genuine) -> Response:
    """Ask for a subscription. The answer is the same whoever the address belongs to, and whatever it has subscribed to."""
    office = _office(view.request)
    if not form.get(TRAP):
        name = "" if manifest.exists(view.request.app.state.settings.folder) else view.name
        asked = [form.get(field, "") for field in ("address", "query", "every")]
        try:
            office.desk.ask(asked[0], asked[1], asked[2] or DAILY, name, client(view.request.scope))
        except UsageError as error:
            return _page(view, "That did not work", f"{sentence(str(error))}.", status=422, again=form)
        except TooManyError as error:
            raise HTTPException(429, str(error)) from None
        view.request.app.state.postman.nudge()
    when = "is on its way" if office.settings.sends else "comes when this site next sends its digests, since it sends mail only then"
    text = f"If the address can be written to, a mail with a link {when}. Nothing else is sent before you have followed that link."
    return _page(view, "One more step: look into your mailbox", text)


@router.get("/confirm/{token}")
def offer(view: Asked, token: str) -> Response:
    """What the link would start, and a button."""
    try:
        subscription, every = _office(view.request).desk.offered(token)
    except LinkError as error:
        return _broken(view, error)
    return _page(view, "Subscribe?", f"A {every} digest of {_topic(subscription)}, to {subscription.address}.", button="Yes, send it to me")


@router.post("/confirm/{token}")
def confirm(view: Asked, token: str) -> Response:
    """Start it."""
    office, shelf = _office(view.request), view.request.app.state.shelf
    try:
        started = office.desk.confirm(token, lambda name: arrivals.look(office.store, name, shelf.get(name).collection))
    except LinkError as error:
        return _broken(view, error)
    text = f"You get a {started.every} digest of {_topic(started)} when there is something new. Each has a link that ends it."
    return _page(view, "You are subscribed", text)


@router.get("/unsubscribe/{token}")
def leaving(view: Asked, token: str) -> Response:
    """What the link would end, and a button."""
    try:
        subscription = _office(view.request).desk.held(token)
    except LinkError as error:
        return _broken(view, error)
    if subscription is None:
        return _gone(view)
    text = f"The {subscription.every} digest of {_topic(subscription)}, to {subscription.address}, ends, and the address is deleted."
    return _page(view, "Unsubscribe?", text, button="Yes, end it")


@router.post("/unsubscribe/{token}")
def leave(view: Asked, token: str) -> Response:
    """End it. The body does not matter: it is ``List-Unsubscribe=One-Click`` from mail readers, and empty from the button."""
    try:
        _office(view.request).desk.leave(token)
    except LinkError as error:
        return _broken(view, error)
    return _gone(view)


def _office(request: Request) -> Office:
    office: Office = request.app.state.office
    return office


def _topic(subscription: Subscription) -> str:
    return f"what is new near {subscription.topic}" if subscription.query else "what is trending"


def _gone(view: Asked) -> Response:
    return _page(view, "You are unsubscribed", "No more mail comes, and nothing is kept of this subscription.")


def _broken(view: Asked, error: LinkError) -> Response:
    return _page(view, "This link does not work", f"{sentence(str(error))}.", status=410)


def _page(view: Asked, heading: str, text: str, status: int = 200, button: str = "", again: dict[str, str] | None = None) -> Response:
    response = view.page("subscribe.html.jinja", status, tab="", heading=heading, text=text, button=button, again=again)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
