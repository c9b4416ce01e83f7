"""Pairs with a gold score, and the files they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, UsageError
from dipole.evaluate.table import finite, read_table
from dipole.rows.read import lines

_FIRST = ("sentence1", "sentence_1", "text1", "anchor")
_SECOND = ("sentence2", "sentence_2", "text2", "positive")
_SCORE = ("score", "similarity", "label", "gold")
FILES = (
    "FILE.tsv with sentence1, sentence2, score, with or without a header; the original STS-B files; CSV, JSONL or Parquet with these "
    "columns; or a FOLDER of STS.input.NAME.txt beside STS.gs.NAME.txt (STS12 to STS16), pairs without a score left out"
)


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """Pairs of items with a gold score each."""

    name: str
    first: Sequence[Any]
    second: Sequence[Any]
    scores: Sequence[float]

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.scores):
            shown = (len(self.first), len(self.second), len(self.scores))
            raise DataError(f"task {self.name}: every pair must have two items and a score", value=shown)


def read_scored_pairs(path: str | Path, name: str = "") -> ScoredPairs:
    """Any of the forms in ``FILES``. A TSV has no quoting; STS-B's has seven or more columns, score in the fifth.

    Raises UsageError where the file is missing, DataError with the line for a ragged row or a score that is no number, and for
    fewer than 3 pairs.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        found = _folder(place)
    elif not place.is_file():
        raise UsageError(f"{place}: no such file; give a TSV of sentence1, sentence2, score")
    elif place.suffix.lower() in (".jsonl", ".ndjson", ".json", ".parquet") or (place.suffix.lower() == ".csv" and not _has_tabs(place)):
        found = _by_name(place)
    else:
        found = _tabs(place)
    if len(found[2]) < 3:
        raise DataError("a correlation needs at least 3 rows", path=place, value=len(found[2]))
    return ScoredPairs(name or str(path), *found)


Found = tuple[list[str], list[str], list[float]]


def _has_tabs(place: Path) -> bool:
    return "\t" in next((text for _, text in lines(place) if text.strip()), "")


def _by_name(place: Path) -> Found:
    table = read_table(place)
    role = "score" if table.has("score") else "label"
    table.need("positive", "sentence2")
    table.need(role, "score")
    return table.texts("anchor"), table.texts("positive"), table.numbers(role)


def _tabs(place: Path) -> Found:
    first, second, scores = [], [], []
    order, width = (0, 1, 2), 0
    for line, text in lines(place):
        fields = text.split("\t")
        if not text.strip():
            continue
        if not width:
            width = len(fields)
            header = _header(fields)
            order = header or ((5, 6, 4) if width >= 7 else order)
            if header:
                continue
        original = width >= 7 and order == (5, 6, 4)  # some rows of STS-B carry licence columns
        if len(fields) != width and not (original and len(fields) >= 7):
            raise DataError(
                f"a row must have {width} fields as the first row has, divided by tabs", path=place, line=line, value=len(fields)
            )
        if len(fields) <= max(order):
            raise DataError("a row must be sentence1, sentence2, score, divided by tabs", path=place, line=line, value=text)
        score = finite(fields[order[2]])
        if score is None:
            remedy = "name the columns of a header sentence1, sentence2, score" if line == 1 else ""
            raise DataError("the score must be a finite number", path=place, line=line, value=fields[order[2]], remedy=remedy)
        first.append(fields[order[0]])
        second.append(fields[order[1]])
        scores.append(score)
    return first, second, scores


def _folder(folder: Path) -> Found:
    first, second, scores = [], [], []
    inputs = sorted(folder.glob("STS.input.*.txt"))
    if not inputs:
        raise UsageError(f"{folder}: no STS.input.NAME.txt in the folder; give a file, or a folder in SemEval's layout")
    for place in inputs:
        gold = place.with_name(place.name.replace("STS.input.", "STS.gs."))
        if not gold.is_file():
            raise UsageError(f"{gold}: missing; it holds the scores of {place.name}, a line each")
        pairs, values = list(lines(place)), list(lines(gold))
        if len(pairs) != len(values):
            raise DataError(f"there must be as many lines as in {place.name}, {len(pairs)}", path=gold, value=len(values))
        for (line, text), (_, value) in zip(pairs, values, strict=True):
            fields = text.split("\t")
            if not value.strip():
                continue
            score = finite(value)
            if score is None:
                raise DataError("the score must be a finite number", path=gold, line=line, value=value)
            if len(fields) < 2:
                raise DataError("a line must be two sentences, divided by a tab", path=place, line=line, value=text)
            first.append(fields[0])
            second.append(fields[1])
            scores.append(score)
    return first, second, scores


def _header(fields: Sequence[str]) -> tuple[int, int, int] | None:
    names = [field.strip().lower() for field in fields]
    found = [next((names.index(n) for n in known if n in names), None) for known in (_FIRST, _SECOND, _SCORE)]
    return (found[0], found[1], found[2]) if None not in found else None  # type: ignore[return-value]
