"""Copy a data file without some of its rows: what stays is copied byte for byte, what is changed keeps its format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dipole.audit.content import normal
from dipole.core.extras import need
from dipole.rows.columns import Columns
from dipole.rows.read import FORMATS

Gone = Callable[[int, Any], None]  # told of each row that is left out: its number, and the row as it was


def rewrite(
    path: Path,
    target: Path,
    columns: Columns,
    numbers: Sequence[int],
    drop: Collection[int],
    negatives: Mapping[int, Collection[str]],
    gone: Gone,
) -> None:
    """``numbers``: the row numbers of the file, ascending. ``drop``: those to leave out. ``negatives``: row number -> negatives to take
    out of the row, in normal form."""
    kind = FORMATS[path.suffix.lower()]
    taken_from = columns.roles.get("negative", ())
    if kind == "parquet":
        _parquet(path, target, taken_from, drop, negatives, gone)
        return
    names: list[str] = []
    with target.open("wb") as file:
        for number, raw in _pieces(path, kind, numbers):
            if number in drop:
                gone(number, raw.decode("utf-8", "replace").rstrip("\r\n"))
            elif number in negatives:
                file.write(_without(raw, kind, names, taken_from, negatives[number]))
            else:
                if number == 0 and kind in ("csv", "tsv"):
                    names = [name.strip() for name in _fields(raw.decode("utf-8-sig"), kind)]
                file.write(raw)


def without(value: Any, out: Collection[str]) -> Any:
    """A value of a negative column without the texts whose normal form is in ``out``."""
    if isinstance(value, str):
        return None if normal(value) in out else value
    if isinstance(value, (list, tuple)):
        return [v for v in value if not (isinstance(v, str) and normal(v) in out)]
    return value


def _pieces(path: Path, kind: str, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """(row number, bytes) of each row, 0 for what belongs to none: the header, blank lines. A CSV row may be several lines."""
    starts = set(numbers)
    with path.open("rb") as file:
        held, owner = b"", 0
        for number, raw in enumerate(file, 1):
            if kind == "csv" and number not in starts:
                held += raw  # a header, or the rest of a row
                continue
            if held:
                yield owner, held
            held, owner = raw, number if number in starts else 0
        if held:
            yield owner, held


def _without(raw: bytes, kind: str, names: Sequence[str], columns: Sequence[str], out: Collection[str]) -> bytes:
    text = raw.decode("utf-8-sig")
    ending = text[len(text.rstrip("\r\n")) :]
    if kind == "jsonl":
        row = json.loads(text)
        row.update((name, without(row[name], out)) for name in columns if name in row)
        return (json.dumps(row, ensure_ascii=False) + ending).encode()
    fields = _fields(text, kind)
    changed = ["" if name in columns and normal(field) in out else field for name, field in zip(names, fields, strict=True)]
    if kind == "tsv":
        return ("\t".join(changed) + ending).encode()
    made = io.StringIO()
    csv.writer(made, lineterminator=ending or "\n").writerow(changed)
    return made.getvalue().encode()


def _fields(text: str, kind: str) -> list[str]:
    return next(csv.reader(io.StringIO(text))) if kind == "csv" else text.rstrip("\r\n").split("\t")


def _parquet(
    path: Path, target: Path, columns: Sequence[str], drop: Collection[int], negatives: Mapping[int, Collection[str]], gone: Gone
) -> None:
    parquet = need("pyarrow.parquet", "text", "reading Parquet")
    arrow = need("pyarrow", "text", "reading Parquet")
    with parquet.ParquetFile(path) as file, parquet.ParquetWriter(target, file.schema_arrow) as writer:
        first = 1
        for batch in file.iter_batches(batch_size=1024):
            table = arrow.Table.from_batches([batch])
            own = range(first, first + len(table))
            first = own.stop
            for name in columns if not negatives.keys().isdisjoint(own) else ():
                values = table.column(name).to_pylist()
                values = [without(v, negatives[n]) if n in negatives else v for n, v in zip(own, values, strict=True)]
                place = table.schema.get_field_index(name)
                table = table.set_column(place, table.schema.field(place), arrow.array(values, type=table.schema.field(place).type))
            for number in own:
                if number in drop:
                    gone(number, batch.slice(number - own.start, 1).to_pylist()[0])
            writer.write_table(table.filter(arrow.array([number not in drop for number in own])))
