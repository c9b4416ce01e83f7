"""What is new: every look at a collection notes the ids it had not held before.

A document is new to a subscriber when its id arrived in a look later than the last one he was served from. No clock and no date of
the document takes part, so a paper from last month that was added today is new today. A document that changed, or was deleted and
came back under its id, is not new again.
"""

from __future__ import annotations

import json

from dipole.digest.store import Store, now
from dipole.search import table as tables
from dipole.search.collection import Collection


def look(store: Store, name: str, collection: Collection) -> int:
    """Note what has come since the last look at this collection, and return this look's number. The same commit is not read twice."""
    number, was = _latest(store, name)
    if was == _mark(collection):
        return number
    ids = _ids(collection)
    with store.changing() as db:
        number = int(
            db.execute("INSERT INTO looks (collection, was, at) VALUES (?, ?, ?)", (name, _mark(collection), now())).lastrowid or 0
        )
        db.executemany("INSERT OR IGNORE INTO arrivals VALUES (?, ?, ?)", ((name, id, number) for id in ids))
    return number


def fresh(store: Store, name: str, collection: Collection, last: int) -> set[str]:
    """The ids that arrived after look ``last``, noted or not yet; some may be gone from the collection again."""
    with store.reading() as db:
        noted = {id for (id,) in db.execute("SELECT id FROM arrivals WHERE collection = ? AND look > ?", (name, last))}
    if _latest(store, name)[1] == _mark(collection):
        return noted
    with store.reading() as db:
        known = {id for (id,) in db.execute("SELECT id FROM arrivals WHERE collection = ?", (name,))}
    return noted | {id for id in _ids(collection) if id not in known}


def _latest(store: Store, name: str) -> tuple[int, str]:
    with store.reading() as db:
        row = db.execute("SELECT number, was FROM looks WHERE collection = ? ORDER BY number DESC LIMIT 1", (name,)).fetchone()
    return row or (0, "")


def _mark(collection: Collection) -> str:
    """What tells one commit from every other one."""
    return json.dumps([collection.manifest.number, collection.manifest.made, collection.manifest.identity])


def _ids(collection: Collection) -> list[str]:
    return [row["id"] for row in tables.read_columns(collection.table, ["id"])] if len(collection) else []
