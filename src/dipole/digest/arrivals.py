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
    was = json.dumps([collection.manifest.number, collection.manifest.made])
    with store.reading() as db:
        last = db.execute("SELECT number, was FROM looks WHERE collection = ? ORDER BY number DESC LIMIT 1", (name,)).fetchone()
    if last and last[1] == was:
        return int(last[0])
    ids = [row["id"] for row in tables.read_columns(collection.table, ["id"])] if len(collection) else []
    with store.changing() as db:
        number = int(db.execute("INSERT INTO looks (collection, was, at) VALUES (?, ?, ?)", (name, was, now())).lastrowid or 0)
        db.executemany("INSERT OR IGNORE INTO arrivals VALUES (?, ?, ?)", ((name, id, number) for id in ids))
    return number


def since(store: Store, name: str, last: int) -> set[str]:
    """The ids that arrived after look ``last``; some may be gone from the collection again."""
    with store.reading() as db:
        return {id for (id,) in db.execute("SELECT id FROM arrivals WHERE collection = ? AND look > ?", (name, last))}
