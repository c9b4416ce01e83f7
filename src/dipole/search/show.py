"""Answers for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dipole.search.documents import Hit

_SHOWN = 160  # characters of a text in a table


def hits_as_json(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """The hits as JSON can hold them, best first."""
    return [{"id": hit.id, "score": hit.score, "title": hit.title, "text": hit.text, **_known(hit)} for hit in hits]


def _known(hit: Hit) -> dict[str, Any]:
    date = hit.date.isoformat() if hit.date else None
    lists = {"authors": list(hit.authors), "tags": list(hit.tags), "metadata": dict(hit.metadata)}
    return {"date": date, "url": hit.url, "votes": hit.votes, **lists}


def print_hits(query: str, hits: Sequence[Hit], lines: int = 3) -> None:
    """A table of the hits; of each text its first lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(query), title_justify="left", show_lines=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("id", overflow="fold", max_width=32)
    table.add_column("text")
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", Text(hit.id), Text(_first(hit.text, lines)))
    Console().print(table)


def _first(text: str, lines: int) -> str:
    kept = [line for line in text.splitlines() if line.strip()]
    short = "\n".join(line[:_SHOWN] for line in kept[:lines])
    return short if short == text.strip() else short + " ..."
