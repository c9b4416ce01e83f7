"""Vectors that were made elsewhere: brought along as tensors or as a column of rows, checked, and stored as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError, ModelMismatchError
from dipole.search.documents import documents_of, refuse_bad_vectors
from dipole.search.encode import VECTORS, refuse_taken
from dipole.search.table import READ_ROWS, Block


def identity_of(model: str) -> str:
    """What stands for a model of which only the name is known: another name is another model."""
    return hashlib.sha256(f"given: {model}".encode()).hexdigest()


def kinds_of(block: Block) -> tuple[str, ...]:
    """The kinds of vectors a block has."""
    return tuple(name for name in VECTORS if getattr(block, name) is not None)


def checked(blocks: Iterable[Block], kinds: Sequence[str], dimension: int, taken: set[str]) -> Iterator[Block]:
    """The blocks in pieces that can be written. Raises DataError with the row for an id that is ``taken`` and for vectors that
    are not finite, are zero or do not fit their documents, ModelMismatchError for another dimension.
    """
    first = 0
    for block in blocks:
        if kinds_of(block) != tuple(kinds):
            raise DataError(f"every block must have vectors of {', '.join(kinds)}", value=", ".join(kinds_of(block)))
        sized = [v for v in (block.body, block.title, block.tokens) if v is not None]
        if any(len(v) != len(block.documents) for v in sized):
            raise DataError(f"{len(block.documents)} documents need as many vectors", value=[len(v) for v in sized])
        if block.body.dim() == 2 and block.dimension != dimension:
            raise ModelMismatchError(f"the collection's vectors have {dimension} dimensions, those given {block.dimension}")
        refuse_bad_vectors(block.body, "vectors given", first)
        for start in range(0, len(block.documents), READ_ROWS):
            piece = _cut(block, slice(start, start + READ_ROWS))
            refuse_taken(piece.documents, taken, first)
            first += len(piece.documents)
            yield piece


def blocks_of_rows(rows: Iterable[Mapping[str, Any]], column: str = "vector", path: str | Path = "", first: int = 0) -> Iterator[Block]:
    """Rows as blocks: ``row[column]`` is the vector, a list of numbers; the rest as in :func:`documents_of`."""
    left, done = iter(rows), 0
    while chunk := list(islice(left, READ_ROWS)):
        for number, row in enumerate(chunk):
            if not isinstance(row.get(column), Sequence) or len(row[column]) != len(chunk[0][column]):
                remedy = "each row needs a list of numbers, of one length"
                raise DataError("no vector", path=path or None, line=done + number + 1, column=column, value=row.get(column), remedy=remedy)
        rest = [{name: value for name, value in row.items() if name != column} for row in chunk]
        vectors = torch.tensor([row[column] for row in chunk], dtype=torch.float32)
        yield Block(list(documents_of(rest, path, first + done)), vectors)
        done += len(chunk)


def _cut(block: Block, which: slice) -> Block:
    title, tokens = (None if v is None else v[which] for v in (block.title, block.tokens))
    return Block(block.documents[which], block.body[which], title, tokens)  # type: ignore[arg-type]
