"""What the JSON interface answers with: the schemas of its OpenAPI document."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dipole.search.documents import Document, Hit
from dipole.serve.settings import Settings


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


class Page(BaseModel):
    """A part of a list."""

    items: list[Item]
    total: int = Field(description="Documents that meet the filter.")
    offset: int
    limit: int
    next: str | None = Field(description="The address of what comes after; none at the end.")
    collection: str
    version: str = Field(description="Which commit of the collection answered; a later one may shift the parts of a list.")


class Shown(BaseModel):
    """A collection that is served."""

    name: str
    rows: int
    model: str = Field(description="The name of the model whose vectors these are.")
    dimension: int = Field(description="Of its vectors; 0 while it is empty.")
    vectors: list[str] = Field(description="What an item has vectors of: body, title, tokens.")
    commit: int
    made: str = Field(description="When that was committed, UTC.")
    version: str
    approximate: bool = Field(description="Whether an approximate index answers by meaning.")
    recall: float | None = Field(description="The recall@10 measured for that index.")


class Collections(BaseModel):
    """What is served; the first is asked where a request names none."""

    collections: list[Shown]


_Text = Annotated[str, Field(min_length=1, max_length=Settings.max_text_chars)]


class Texts(BaseModel):
    """Texts to encode."""

    model_config = {"extra": "forbid"}

    texts: list[_Text] = Field(min_length=1, max_length=Settings.max_texts)
    side: Literal["queries", "keys"] = Field(default="queries", description="What the texts are to the model.")


class Vectors(BaseModel):
    """One vector a text, in their order."""

    vectors: list[list[float]]
    model: str
    dimension: int


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
