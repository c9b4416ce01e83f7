"""Atom feeds of lists and searches, and the description that lets a browser's address bar search here."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response

from dipole.core.addresses import web_address
from dipole.search.documents import Document
from dipole.serve.page.errors import PageRoute
from dipole.serve.page.excerpt import title_of
from dipole.serve.page.rendering import environment, without_control
from dipole.serve.page.view import Asked, View

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_ENTRIES = 40
_SUMMARY = 2000  # characters


@router.get("/feeds/search.atom")
def found(view: Asked, q: str, how: Literal["meaning", "words", "hybrid"] = "meaning") -> Response:
    """What is nearest to a sentence, the latest of it first."""
    q = " ".join(q.split())[: view.longest]
    hits = view.held.search(q, _ENTRIES, how=how) if view.held and q else []
    documents = sorted((hit.document for hit in hits), key=lambda d: d.date or datetime.date.min, reverse=True)
    return _feed(view, f"{view.site}: {q}", documents, view.link("/find", q=q, how=how))


@router.get("/feeds/{order}.atom")
def listed(view: Asked, order: Literal["newest", "trending"]) -> Response:
    """The newest, or what is trending."""
    documents = view.collection.browse(order, _ENTRIES, more_votes=view.votes)
    return _feed(view, f"{view.site}: {order}", documents, view.link(f"/{order}"))


@router.get("/opensearch.xml")
def opensearch(view: Asked) -> Response:
    """How a browser asks here from its address bar."""
    address = view.absolute(view.link("/find"))
    template = f"{address}{'&' if '?' in address else '?'}q={{searchTerms}}"
    text = environment().get_template("opensearch.xml.jinja").render(name=view.site, template=template)
    return Response(text, media_type="application/opensearchdescription+xml")


def _feed(view: View, title: str, documents: Sequence[Document], page: str) -> Response:
    entries = [_entry(view, document) for document in documents]
    updated = max((entry["updated"] for entry in entries), default=_made(view))
    context = {
        "id": _urn(f"feed {view.name} {title}"),
        "title": title,
        "site": view.site,
        "updated": updated,
        "address": view.absolute(view.here),
    }
    text = environment().get_template("feed.xml.jinja").render(entries=entries, page=view.absolute(page), **context)
    return Response(text, media_type="application/atom+xml")


def _entry(view: View, document: Document) -> dict[str, Any]:
    published = f"{document.date.isoformat()}T00:00:00Z" if document.date else ""
    return {
        "id": _urn(f"{view.name}/{document.id}"),
        "title": without_control(title_of(document)),
        "page": view.absolute(view.item(document.id)),
        "url": web_address(document.url),
        "published": published,
        "updated": published or _made(view),
        "authors": document.authors,
        "tags": document.tags,
        "summary": document.text[:_SUMMARY],
    }


def _made(view: View) -> str:
    """When the collection was last written."""
    return view.collection.manifest.made.replace("+00:00", "Z") or "1970-01-01T00:00:00Z"


def _urn(said: str) -> str:
    """An id that stays when the server moves to another address."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"dipole:{said}").urn
