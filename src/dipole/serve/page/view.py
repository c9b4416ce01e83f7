"""What every page knows: the collection asked for, the visitor, where links lead, how values read. Pages are rendered here."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, Response

from dipole.core.errors import UnknownNameError
from dipole.search.collection import Collection
from dipole.serve.cookies import give
from dipole.serve.guard.known import COOKIE, knows_key
from dipole.serve.held import Held
from dipole.serve.page.atlases import Atlases
from dipole.serve.page.nearest import Sentences
from dipole.serve.page.rendering import assets, environment
from dipole.serve.page.survey import Survey, Surveys
from dipole.serve.settings import Settings
from dipole.serve.state import State
from dipole.serve.visitor import Visitors, secret_in

VISITOR, THEME = "dipole_visitor", "dipole_theme"  # cookies
YEAR = 365 * 24 * 3600
KEYS = (
    (("/",), "search"),
    (("j", "k"), "next, previous"),
    (("o",), "open"),
    (("v",), "vote, or take it back"),
    (("s",), "save, or take it out"),
    (("r",), "mark as read, or unread"),
    (("m",), "more like this"),
    (("?",), "these keys"),
    (("Esc",), "leave the search box"),
)
DATED_TABS = (("day", "/", "Day"), ("week", "/week", "Week"), ("trending", "/trending", "Trending"), ("newest", "/newest", "Newest"))
UNDATED_TABS = (("all", "/all", "All"), ("trending", "/by-votes", "Most voted"))
MAP_TAB = ("map", "/map", "Map")
OWN_TABS = (("saved", "/saved", "Saved"), ("read", "/read", "Read"))


class Desk:
    """What pages share in one server: people's marks, cookies, surveys. Made once, at ``app.state.desk``."""

    def __init__(self, settings: Settings) -> None:
        self.state = State(settings.state_folder)
        self.visitors = Visitors(secret_in(settings.state_folder))
        self.surveys = Surveys()
        self.sentences = Sentences()
        self.atlases = Atlases(settings.state_folder / "maps", settings.map)


@dataclass(frozen=True)
class View:
    """One request for a page. ``fresh``: the visitor was not known before, and gets a cookie with the answer."""

    request: Request
    held: Held | None
    visitor: str
    fresh: bool

    # -- what was asked for ---------------------------------------------------------------------------------------------

    @property
    def desk(self) -> Desk:
        found: Desk = self.request.app.state.desk
        return found

    @property
    def collection(self) -> Collection:
        """The collection, at the commit this request began with."""
        assert self.held is not None
        return self.held.collection

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.held.name if self.held else ""

    @property
    def names(self) -> Sequence[str]:
        return self.request.app.state.shelf.names if self.held else ()

    @property
    def first(self) -> bool:
        """Whether links need not name the collection."""
        return not self.held or self.names[:1] == [self.name]

    @property
    def site(self) -> str:
        """What the page calls itself."""
        return self.name.replace("_", " ") or "dipole"

    @property
    def size(self) -> int:
        return len(self.collection) if self.held else 0

    @property
    def model(self) -> str:
        """The model's name, without the folder it lies in."""
        return Path(self.collection.model).name if self.held else ""

    @functools.cached_property
    def survey(self) -> Survey:
        """Days, tags and fields of the collection."""
        return self.desk.surveys.of(self.held) if self.held else Survey()

    @functools.cached_property
    def votes(self) -> dict[str, int]:
        """Id -> votes given on the page."""
        return self.desk.state.votes(self.name)

    @property
    def tabs(self) -> tuple[tuple[str, str, str], ...]:
        """The lists there are: key, path, label."""
        return (*(DATED_TABS if self.survey.days else UNDATED_TABS), MAP_TAB, *OWN_TABS)

    @property
    def longest(self) -> int:
        """Characters a query may have."""
        settings: Settings = self.request.app.state.settings
        return settings.max_query_chars

    @property
    def signed_in(self) -> bool:
        """Whether the visitor gave the key in the form, and so has a session to end."""
        settings: Settings = self.request.app.state.settings
        return bool(settings.api_key) and COOKIE in self.request.cookies

    @property
    def theme(self) -> str:
        """``light`` or ``dark`` where the visitor chose, else empty: what the system says."""
        chosen = self.request.cookies.get(THEME, "")
        return chosen if chosen in ("light", "dark") else ""

    @property
    def token(self) -> str:
        """What forms carry."""
        return self.desk.visitors.token(self.visitor)

    @property
    def keys(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        return KEYS

    # -- where links lead -----------------------------------------------------------------------------------------------

    @property
    def here(self) -> str:
        """This page, to come back to."""
        asked = self.request.url.query
        return self.request.url.path + (f"?{asked}" if asked else "")

    def link(self, path: str, **asked: Any) -> str:
        """An address of this site for the same collection; parameters that are empty are left out."""
        named = {"collection": "" if self.first else self.name, **asked}
        query = urlencode({name: value for name, value in named.items() if value or name == "id"}, doseq=True)
        return f"{self.request.scope.get('root_path', '')}{path}" + (f"?{query}" if query else "")

    def item(self, id: str) -> str:
        """The page of a document. An id that a browser would not leave as it is goes into the query."""
        whole = all(part not in ("", ".", "..") for part in id.split("/")) and "\\" not in id and id.strip() == id
        return self.link("/item/" + quote(id, safe="/:@+,=")) if whole else self.link("/item", id=id)

    def like(self, id: str) -> str:
        """The documents like one."""
        return self.link("/like", id=id)

    def absolute(self, path: str) -> str:
        """An address with the host people reach the server by."""
        settings: Settings = self.request.app.state.settings
        return (settings.base_url.rstrip("/") or str(self.request.base_url).rstrip("/")) + path

    def asset(self, name: str) -> str:
        """A file of the page's own, by an address that changes with its content."""
        return f"{self.request.scope.get('root_path', '')}/static/{name}?v={assets()[name].mark}"

    # -- the answer -----------------------------------------------------------------------------------------------------

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """A page from a template."""
        text = environment().get_template(template).render(view=self, **context)
        tag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'
        headers = {"Cache-Control": "private, no-cache", "Vary": "Cookie"} | ({"ETag": tag} if status == 200 else {})
        same = status == 200 and tag in self.request.headers.get("if-none-match", "")
        response = Response(status_code=304, headers=headers) if same else HTMLResponse(text, status, headers)
        if self.fresh:
            self.remember(response, VISITOR, self.desk.visitors.cookie(self.visitor))
        return response

    def remember(self, response: Response, name: str, value: str) -> None:
        """A cookie for a year."""
        give(self.request, response, name, value, YEAR)


def view_of(request: Request, collection: str = "") -> View:
    """The view of a request; of no collection where the key is needed and was not given, as for links in mails.

    Raises UnknownNameError for a collection that is not served.
    """
    return _view(request, request.app.state.shelf.get(collection) if knows_key(request.scope) else None)


def view_without(request: Request) -> View:
    """A view for what went wrong: of the collection asked for, else of the first, else of none."""
    shelf = request.app.state.shelf
    if not knows_key(request.scope):
        return _view(request, None)
    for name in (request.query_params.get("collection", ""), ""):
        try:
            return _view(request, shelf.get(name))
        except UnknownNameError:
            continue
        except Exception:
            break
    return _view(request, None)


def view_of_nobody(request: Request) -> View:
    """A view that shows nothing of any collection: for whoever has yet to prove that they may look."""
    return _view(request, None)


def _view(request: Request, held: Held | None) -> View:
    visitors: Visitors = request.app.state.desk.visitors
    known = visitors.known(request.cookies.get(VISITOR, ""))
    return View(request, held, known or visitors.new(), not known)


Asked = Annotated[View, Depends(view_of)]
