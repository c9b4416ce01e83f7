"""What requests have in common: parameters with their bounds, the collection asked for, filters, and answers already known."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from pydantic import BeforeValidator, Field

from dipole.search.filters import Filter, parse_fields
from dipole.serve.held import Held
from dipole.serve.settings import Settings

_WORD = 200  # characters of a tag, an author, a field, a collection's name
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _day(value: Any) -> Any:
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("write a day as 2026-11-25")
    return value


Day = Annotated[datetime.date, BeforeValidator(_day)]
Tag = Annotated[str, Field(max_length=_WORD)]
Setting = Annotated[str, Field(max_length=_WORD, pattern="^[^=]+=")]
K = Annotated[int, Query(description="How many answers.", ge=1, le=Settings.max_k)]


def asked_collection(
    request: Request,
    collection: Annotated[str, Query(description="Which collection; by default the first.", max_length=_WORD)] = "",
) -> Held:
    """The commit that answers this request, from its beginning to its end."""
    found: Held = request.app.state.shelf.get(collection)
    return found


def votes_given(request: Request, held: Annotated[Held, Depends(asked_collection)]) -> Mapping[str, int]:
    """Id -> votes given on the page, which count together with the collection's own. Read once a request: filter, counts and tag
    speak of the same votes."""
    desk = getattr(request.app.state, "desk", None)
    found: Mapping[str, int] = {} if desk is None else desk.state.votes(held.name)
    return found


def asked_filter(
    votes: Annotated[Mapping[str, int], Depends(votes_given)],
    after: Annotated[Day | None, Query(description="Only from this day on.")] = None,
    before: Annotated[Day | None, Query(description="Only up to this day.")] = None,
    tag: Annotated[list[Tag], Query(description="Only with all of these tags.", max_length=10)] = [],  # noqa: B006
    author: Annotated[str, Query(description="Only by this author, written as in the collection.", max_length=_WORD)] = "",
    min_votes: Annotated[
        int, Query(description="Only with so many votes, the collection's own and those given on the page together.", ge=0, le=10**9)
    ] = 0,
    field: Annotated[list[Setting], Query(description="Only where the metadata has name=value.", max_length=10)] = [],  # noqa: B006
) -> Filter:
    """Which documents count."""
    return Filter(after, before, tuple(tag), author, min_votes, parse_fields(field), more_votes=votes if min_votes else {})


Asked = Annotated[Held, Depends(asked_collection)]
Votes = Annotated[Mapping[str, int], Depends(votes_given)]
Where = Annotated[Filter, Depends(asked_filter)]


class NotModifiedError(Exception):
    """Whoever asks has this answer already."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


def unless_known(request: Request, response: Response, held: Held, votes: Mapping[str, int] | None = None) -> None:
    """Mark the answer with an ETag. Raises NotModifiedError where the client has it.

    An answer is the same as long as the address, the commit, the votes given meanwhile and the day (for trending) are.
    """
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    said = (request.url.path, request.url.query, held.name, held.version, day, sorted((votes or {}).items()))
    tag = f'W/"{hashlib.sha256(repr(said).encode()).hexdigest()[:24]}"'
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or tag.removeprefix("W/") in known or "*" in known:
        raise NotModifiedError(tag)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
