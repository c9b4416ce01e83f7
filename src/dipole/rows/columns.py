"""Which column plays which role: by name, or said explicitly, and only then by order.

| role | names, the first found wins |
|---|---|
| anchor | anchor, query, question, sentence1, premise, docstring, text, sentence ... |
| positive | positive, pos, answer, response, entailment, hypothesis, sentence2 ...; beside an anchor also document, passage, code |
| negative | negative, neg, contradiction ... and any number of negative_1, negative_2 ... |
| label, score, id | label(s), class, category; score(s), similarity; id, _id ... |

Text columns of other names fill anchor, positive and negative in their order only where no name is known at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dipole.core.errors import DataError, UnknownNameError, UsageError

ROLES: Mapping[str, tuple[str, ...]] = {
    "anchor": ("anchor", "query", "question", "sentence1", "sentence_1", "premise", "docstring", "text1", "source", "text", "sentence"),
    "positive": (
        "positive",
        "positives",
        "pos",
        "answer",
        "answers",
        "response",
        "entailment",
        "hypothesis",
        "sentence2",
        "sentence_2",
        "text2",
        "target",
    ),
    "negative": ("negative", "negatives", "neg", "contradiction", "hard_negative", "hard_negatives"),
    "label": ("label", "labels", "class", "category"),
    "score": ("score", "scores", "similarity"),
    "id": ("id", "_id", "doc_id", "docid", "idx", "guid"),
}
BESIDE_AN_ANCHOR = ("document", "passage", "context", "code", "body", "completion")
TEXT_ROLES = ("anchor", "positive", "negative")
_NUMBERED = re.compile(r"(?:negative|neg|hard_negative)_?(\d+)")
_NO_TEXT = re.compile(r"(?:.*_)?(?:id|idx|index|url|date|time|scores|prompt|type)|unnamed.*", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """``roles``: role -> the columns it is read from (several for numbered negatives only)."""

    roles: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    how: str  # "name", "order" or "given"

    def text(self) -> str:
        """One line for people: ``anchor <- question, positive <- answer (by name); not used: url``."""
        used = {name for columns in self.roles.values() for name in columns}
        rest = [name for name in self.names if name not in used]
        said = ", ".join(f"{role} <- {' + '.join(columns)}" for role, columns in self.roles.items())
        return f"{said} ({'as given' if self.how == 'given' else 'by ' + self.how})" + (f"; not used: {', '.join(rest)}" if rest else "")

    def row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Roles first, then every other column under its own name; a column whose name is a taken role is left out."""
        row: dict[str, Any] = {}
        for role, columns in self.roles.items():
            if len(columns) == 1:
                row[role] = values.get(columns[0])
            else:
                row[role] = [v for name in columns for v in _several(values.get(name))]
        used = {name for columns in self.roles.values() for name in columns}
        row.update((name, value) for name, value in values.items() if name not in used and name not in row)
        return row


def map_columns(names: Sequence[str], given: Mapping[str, str], path: str = "") -> Columns:
    """The roles of a file's columns. ``given`` (role -> column) beats everything.

    Raises DataError where a given column is missing (nearest names offered) or no column can be the anchor, UsageError
    for an unknown role.
    """
    roles: dict[str, tuple[str, ...]] = {}
    for role, column in given.items():
        if role not in ROLES:
            raise UnknownNameError("role", role, ROLES, "columns")
        if column not in names:
            raise missing_column(column, names, path)
        roles[role] = (column,)
    taken = set(given.values())
    free = {name.strip().lower(): name for name in reversed(names) if name not in taken}
    for role, known in ROLES.items():
        if role not in roles:
            found = [free[name] for name in known if name in free][:1]
            if role == "negative":
                numbered = sorted((int(m[1]), free[n]) for n in free if (m := _NUMBERED.fullmatch(n)))
                found += [name for _, name in numbered]
            if found:
                roles[role] = tuple(found)
    if "anchor" in roles and "positive" not in roles:
        for name in BESIDE_AN_ANCHOR:
            if name in free:
                roles["positive"] = (free[name],)
                break
    how = "given" if given else "name"
    if "anchor" not in roles:
        used = {name for columns in roles.values() for name in columns}
        left = [name for name in names if name not in used and not _NO_TEXT.fullmatch(name)]
        open_roles = TEXT_ROLES if not any(role in roles for role in TEXT_ROLES) else ("anchor",)
        roles |= {role: (name,) for role, name in zip(open_roles, left, strict=False)}
        how = "given" if given else "order"
    if "anchor" not in roles:
        raise DataError("no column can be the anchor", path=path or None, value=list(names), remedy="say which: columns = 'anchor=NAME'")
    return Columns({role: roles[role] for role in ROLES if role in roles}, tuple(names), how)


def missing_column(column: str, names: Sequence[str], path: str = "") -> DataError:
    """The error for a column that a file does not have."""
    import difflib

    near = difflib.get_close_matches(column, names, n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the columns are {', '.join(map(repr, names))}"
    return DataError("there is no such column", path=path or None, column=column, remedy=remedy)


def parse_columns(text: str) -> dict[str, str]:
    """``"anchor=question, positive=answer"`` -> role to column. Raises UsageError for anything else."""
    given: dict[str, str] = {}
    for entry in filter(None, (piece.strip() for piece in text.split(","))):
        role, equals, column = (piece.strip() for piece in entry.partition("="))
        if not (role and equals and column) or role in given:
            raise UsageError(f"columns must read 'role=column, role=column', each role once, got {text!r}")
        given[role] = column
    return given


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [v for v in value if v] if isinstance(value, (list, tuple)) else [value]
