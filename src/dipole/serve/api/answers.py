"""What the JSON interface answers with: the schemas of its OpenAPI document."""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import BaseModel, Field

from dipole.search.documents import Document, Hit


class Item(BaseModel):
    """A document of a collection."""

    id: str = Field(description="Unique in its collection; any text, slashes included.")
    title: str
    text: str
    authors: list[str]
    date: datetime.date | None = Field(description="The day it appeared.")
    url: str
    votes: int = Field(description="The collection's own and those given on the page.")
    tags: list[str]
    metadata: dict[str, Any] = Field(description="Whatever else is known of it.")

    @staticmethod
    def of(document: Document, more_votes: int = 0) -> Item:
        """The document as JSON can hold it."""
        return Item(**_fields(document, more_votes))


class Found(Item):
    """A document that was found."""

    score: float = Field(description="Higher is nearer: the cosine by meaning, BM25 by words, a sum of 1 / (60 + rank) for hybrid.")

    @staticmethod
    def of_hit(hit: Hit, more_votes: int = 0) -> Found:
        """The hit as JSON can hold it."""
        return Found(score=hit.score, **_fields(hit.document, more_votes))


class Results(BaseModel):
    """The documents found, best first."""

    results: list[Found]
    collection: str
    version: str = Field(description="Which commit of the collection answered.")
    note: str = Field(default="", description="Said where nothing could be found, for example in an empty collection.")


class Health(BaseModel):
    """Whether requests are answered."""

    status: str = Field(description="ready, or loading")
    reason: str = ""
    refused: dict[str, str] = Field(
        default={}, description="Collections whose newest commit is not served, and why; the one before answers."
    )


def _fields(document: Document, more_votes: int) -> dict[str, Any]:
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "authors": list(document.authors),
        "date": document.date,
        "url": document.url,
        "votes": document.votes + more_votes,
        "tags": list(document.tags),
        "metadata": dict(document.metadata),
    }
