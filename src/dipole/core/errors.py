"""What dipole raises: every error names the place, the rule, the value and the remedy.

``exit_code`` is what the command line returns for it: 2 where the call was wrong, 1 where the work failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class DipoleError(Exception):
    """The root of all errors that dipole raises on purpose."""

    exit_code = 1

    def __reduce__(self) -> Any:
        """Whole through pickle, whatever the constructor takes: errors of worker processes are raised where the work was given out."""
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[DipoleError], args: tuple[Any, ...], state: dict[str, Any]) -> DipoleError:
    made = kind.__new__(kind, *args)
    vars(made).update(state)
    return made


class UsageError(DipoleError):
    """The call itself is wrong: an unknown name, a parameter out of range, a missing file."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that nothing answers to; the message offers the nearest that exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        offer = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"{where + ': ' if where else ''}unknown {kind} {name!r}; {offer}")
        self.name = name
        self.near = near


class ParameterError(UsageError):
    """A part was given a value its declaration forbids."""

    def __init__(self, part: str, parameter: str, rule: str, value: object, remedy: str = "") -> None:
        tail = f"; {remedy}" if remedy else ""
        super().__init__(f"{part}: {parameter} must be {rule}, got {value!r}{tail}")
        self.parameter = parameter


class MissingExtraError(UsageError):
    """A feature needs packages that are not installed; the message is the line that installs them."""

    def __init__(self, extra: str, needed_for: str, module: str) -> None:
        super().__init__(f'{needed_for} needs the package {module!r}, which is not installed; run: pip install "dipole[{extra}]"')
        self.extra = extra


class DataError(DipoleError):
    """A file or a batch holds something the work cannot use."""

    def __init__(
        self,
        rule: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        column: str | None = None,
        value: object = None,
        remedy: str = "",
    ) -> None:
        place = str(path) if path is not None else ""
        if line is not None:
            place += f":{line}" if place else f"line {line}"
        if column is not None:
            place += f"{', ' if place else ''}column {column!r}"
        shown = f" (got {short(value)})" if value is not None else ""
        super().__init__(f"{place + ': ' if place else ''}{rule}{shown}{'; ' + remedy if remedy else ''}")
        self.path, self.line, self.column = path, line, column


class DegenerateBatchError(DataError):
    """A batch on which an objective is undefined, such as one without a single positive or negative."""


class EngineError(DipoleError):
    """A request the pairwise engine refuses because the answer would be wrong."""


class CheckpointError(DipoleError):
    """A checkpoint or model folder that is incomplete, corrupt or not what its record says."""


class ModelMismatchError(DipoleError):
    """Vectors and query come from different models."""


def short(value: object, limit: int = 80) -> str:
    """A value as errors show it."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
