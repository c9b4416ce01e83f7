"""Documents into blocks of documents and vectors, by the collection's model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

import torch

from dipole.core.errors import DataError, ModelMismatchError, UsageError
from dipole.core.files import lasting
from dipole.search.documents import Document, Embedder, TokenEmbedder, refuse_bad_vectors
from dipole.search.manifest import Manifest
from dipole.search.table import Block

VECTORS = ("body", "title", "tokens")
TEXTS = 1024  # encoded together


def blocks_of(
    documents: Iterable[Document], model: Embedder, batch_size: int, vectors: Sequence[str], taken: set[str] | None, first: int = 0
) -> Iterator[Block]:
    """Blocks of documents and their vectors, checked. ``taken``: ids in use, which are refused; None: they may come again;
    ``first``: how many documents came before.
    """
    left = iter(documents)
    while block := list(islice(left, TEXTS)):
        if taken is not None:
            refuse_taken(block, taken, first)
        yield encoded(block, model, batch_size, vectors, first)
        first += len(block)


def refuse_taken(documents: Sequence[Document], taken: set[str], first: int) -> None:
    """Raise DataError with the row (``first`` of them came before) for an id in use; afterwards these ids are in use."""
    for place, document in enumerate(documents):
        if document.id in taken:
            remedy = "ids must be unique in a collection; leave the id out, or rebuild"
            raise DataError("this id is already taken", line=first + place + 1, value=document.id, remedy=remedy)
        taken.add(document.id)


def encoded(block: Sequence[Document], model: Embedder, batch_size: int, vectors: Sequence[str], first: int = 0) -> Block:
    """One block. Raises DataError for vectors that are not finite or are zero."""
    what = f"model {model.model!r}"
    body = model.encode([document.text for document in block], batch_size=batch_size, side="keys")
    refuse_bad_vectors(body, what, first)
    title, tokens = None, None
    if "title" in vectors:
        title = torch.zeros_like(body)
        titled = [place for place, document in enumerate(block) if document.title]
        if titled:
            title[titled] = model.encode([block[place].title for place in titled], batch_size=batch_size, side="keys")
            refuse_bad_vectors(title[titled], f"{what}, titles", first)
    if "tokens" in vectors:
        tokens = cast(TokenEmbedder, model).encode_tokens([document.text for document in block], batch_size=batch_size, side="keys")
    return Block(block, body, title, tokens)


def known_vectors(vectors: Sequence[str], model: Embedder) -> tuple[str, ...]:
    """The kinds of vectors wanted, checked and in order; ``body`` is always among them."""
    for name in vectors:
        if name not in VECTORS:
            raise UsageError(f"vectors must be among {', '.join(VECTORS)}, got {name!r}")
    if "tokens" in vectors and not hasattr(model, "encode_tokens"):
        raise UsageError(f"the model {model.model!r} gives no vectors of tokens, which late interaction needs; leave 'tokens' out")
    return tuple(name for name in VECTORS if name in {*vectors, "body"})


def same_model(manifest: Manifest, model: Embedder) -> None:
    """Raise ModelMismatchError where the model is not the collection's."""
    if model.identity != manifest.identity:
        made, asked = f"{manifest.model!r} ({manifest.identity[:12]})", f"{name_of(model)!r} ({model.identity[:12]})"
        rest = "query with the model that made it, or rebuild the collection with the new one"
        raise ModelMismatchError(
            f"the collection was made by {made}, the query's model is {asked}: their vectors cannot be compared; {rest}"
        )


def name_of(model: Embedder) -> str:
    """The model's name, made independent of the folder one stands in."""
    return lasting(model.model)
