"""Read a file record by record, each with its line number: JSONL, CSV, TSV, TXT, Parquet.

Constant memory. UTF-8 with or without a byte order mark. CSV follows RFC 4180; TSV has no quoting: a tab ends a field, a
line break a row. Blank lines are skipped. For Parquet the row number stands for the line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, UsageError
from dipole.core.extras import need

Record = tuple[int, dict[str, Any]]
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "txt", ".parquet": "parquet"}


def files_of(path: Path, any_ending: bool = False) -> list[Path]:
    """The data files a path stands for: itself, or those of a folder in the order of their names.

    Raises UsageError where it does not exist, holds no data file, or has an unknown ending.
    """
    if path.is_dir():
        files = sorted(
            p for p in path.iterdir() if (any_ending or p.suffix.lower() in FORMATS) and p.is_file() and not p.name.startswith(".")
        )
        if not files:
            raise UsageError(f"{path}: the folder holds no data file; known endings: {', '.join(FORMATS)}")
        return files
    if not path.exists():
        near = _near(path)
        raise UsageError(f"{path}: no such file" + (f"; did you mean {near}?" if near else ""))
    if not any_ending and path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: unknown ending {path.suffix!r}; known: {', '.join(FORMATS)}")
    return [path]


Broken = Callable[[DataError], None]


def records(path: Path, header: bool = True, kind: str = "", broken: Broken | None = None) -> Iterator[Record]:
    """(line number from 1, column -> value) for each record.

    Raises DataError with the line for bytes that are not UTF-8, broken JSON, a row of another length than the header; with
    ``broken``, that is called with the error instead and reading goes on after the line (an open quote takes all that follows).
    """
    kind = kind or FORMATS[path.suffix.lower()]
    if kind == "parquet":
        return _parquet(path, broken or _raise)
    if kind == "jsonl":
        return _jsonl(path, broken or _raise)
    if kind == "txt":
        return ((line, {"text": text}) for line, text in lines(path, broken) if text.strip())
    return _separated(path, kind, header, broken or _raise)


def _raise(error: DataError) -> None:
    raise error


def lines(path: Path, broken: Broken | None = None) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without its line break). A line that is not UTF-8 counts as empty where ``broken`` is given."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                (broken or _raise)(
                    DataError(
                        f"the bytes are not UTF-8 from byte {error.start + 1} of the line on",
                        path=path,
                        line=number,
                        value=raw[error.start : error.start + 8],
                        remedy="convert the file, for example with: iconv -f latin1 -t utf-8",
                    )
                )
                text = ""
            yield number, text.rstrip("\r\n")


def _jsonl(path: Path, broken: Broken) -> Iterator[Record]:
    for number, text in lines(path, broken):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            remedy = "write one object a line, not one array" if text.lstrip().startswith("[") else "each line must be one JSON object"
            broken(DataError(f"no JSON: {error.msg} at character {error.colno}", path=path, line=number, remedy=remedy))
        except RecursionError:
            broken(DataError("JSON nested too deep", path=path, line=number))
        except ValueError as error:  # a number of thousands of digits
            broken(DataError(f"no JSON that can be read: {error}", path=path, line=number))
        else:
            if not isinstance(value, dict):
                broken(DataError("each line must be one JSON object", path=path, line=number, value=value))
            elif _halved(text, value):
                broken(DataError("half a surrogate pair is no character", path=path, line=number, remedy="write the text as UTF-8"))
            else:
                yield number, value


def _halved(text: str, value: Any) -> bool:
    r"""Whether JSON escapes half of a surrogate pair, which no file can hold: ``"\ud83d"`` without its other half."""
    if "\\ud" not in text and "\\uD" not in text:
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _separated(path: Path, kind: str, header: bool, broken: Broken) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    at = [0]  # the line read last

    def feed() -> Iterator[str]:
        for at[0], text in lines(path, None if broken is _raise else broken):
            yield text + "\n"

    if kind == "csv":
        reader: Iterator[list[str]] = csv.reader(feed(), strict=True)
    else:
        reader = (text.rstrip("\n").split("\t") for text in feed())
    names: list[str] | None = None
    start = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            broken(DataError(f"no CSV: {error}", path=path, line=start, remedy="a quoted field must end with a quote"))
            if "unexpected end" in str(error):  # a quote is open until the end of the file
                return
            start = at[0] + 1
            continue
        number, start = start, at[0] + 1
        if not fields or fields == [""]:
            continue
        if names is None:
            names = [name.strip() for name in fields] if header else [f"column_{i}" for i in range(1, len(fields) + 1)]
            _check_header(names, path, number)
            if header:
                continue
        if len(fields) != len(names):
            rule = f"a row must have {len(names)} fields as the first row has"
            broken(DataError(rule, path=path, line=number, value=len(fields), remedy=_ragged_remedy(kind)))
            continue
        yield number, dict(zip(names, fields, strict=True))


def _ragged_remedy(kind: str) -> str:
    return "quote fields that hold commas or line breaks" if kind == "csv" else "replace tabs inside fields by spaces"


def _check_header(names: list[str], path: Path, line: int) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice or "" in names:
        raise DataError("the names in the header must differ and not be empty", path=path, line=line, value=twice or names)


def _parquet(path: Path, broken: Broken) -> Iterator[Record]:
    parquet = need("pyarrow.parquet", "text", "reading Parquet")
    arrow = need("pyarrow", "text", "reading Parquet")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for value in _values(batch):
                    number += 1
                    if isinstance(value, Exception):
                        remedy = "write its column in another type"
                        broken(DataError(f"a value cannot be read: {' '.join(str(value).split())}", path=path, line=number, remedy=remedy))
                    else:
                        yield number, value
    except (arrow.ArrowInvalid, OSError) as error:
        raise DataError(f"no readable Parquet: {str(error).splitlines()[0]}", path=path) from None


def _values(batch: Any) -> list[Any]:
    """The rows of an Arrow batch; in the place of one that cannot be had, why: text not UTF-8, a day after 9999, nanoseconds."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return [error]
        return [value for row in range(batch.num_rows) for value in _values(batch.slice(row, 1))]


def _near(path: Path) -> str:
    import difflib

    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    return " or ".join(map(repr, difflib.get_close_matches(path.name, names, n=2)))
