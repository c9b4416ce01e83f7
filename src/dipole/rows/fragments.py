"""A Lance table written by many processes and committed by one.

Each process writes fragments, files that nothing refers to yet, and hands over what describes them; the one commits the fragments that
count, in their order, as one version of the table. Before that the table is empty, whatever ended whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dipole.core.extras import need

_FOR = "fragments of a Lance table"


def begin(folder: str | Path, name: str, schema: Any) -> str:
    """Make an empty table ``name`` in ``folder``; returns where it lies, as the other functions want it."""
    table = need("lancedb", "search", _FOR).connect(str(folder)).create_table(name, schema=schema)
    return str(table.uri)


def write(place: str, schema: Any, batches: Iterable[Any]) -> list[str]:
    """Write Arrow batches as fragments; returns their descriptions, for :func:`commit`. Raises what making the batches raised."""
    arrow, lance = need("pyarrow", "search", _FOR), need("lance.fragment", "ray", _FOR)
    failed: list[BaseException] = []

    def watched() -> Iterator[Any]:
        try:
            yield from batches
        except BaseException as error:  # Lance would make a text of it
            failed.append(error)
            raise

    try:
        made = lance.write_fragments(arrow.RecordBatchReader.from_batches(schema, watched()), place, schema=schema, mode="append")
    except OSError:
        if failed:
            raise failed[0] from None
        raise
    return [json.dumps(fragment.to_json()) for fragment in made]


def commit(place: str, fragments: Sequence[str]) -> int:
    """Make these fragments the table's content, in this order, and delete the files of others; returns the version."""
    lance = need("lance", "ray", _FOR)
    parsed = [lance.FragmentMetadata.from_json(text) for text in fragments]
    schema = lance.dataset(place).schema
    version = int(lance.LanceDataset.commit(place, lance.LanceOperation.Overwrite(schema, parsed)).version)
    kept = {file.path for fragment in parsed for file in fragment.files}
    data = Path(place) / "data"
    for file in data.iterdir() if data.is_dir() else ():  # a killed worker's; on object storage they stay, unused
        if file.name not in kept:
            file.unlink()
    return version
