"""``POST /encode``: texts as vectors of a collection's model."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter

from dipole.serve.api.answers import Texts, Vectors
from dipole.serve.api.asked import Asked

router = APIRouter(tags=["encode"])


@router.post("/encode", summary="Texts as vectors")
def encode(texts: Texts, held: Asked) -> Vectors:
    """One vector a text, in their order, of unit length where the model says so."""
    vectors = held.encode(texts.texts, texts.side)
    return Vectors(vectors=vectors.tolist(), model=Path(held.collection.model).name, dimension=vectors.shape[1])
