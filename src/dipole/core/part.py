"""``@part``: one declaration that is the constructor, the validation and the schema of a recipe entry.

A part is a small object with named, checked parameters: a loss, a score, an encoder, a source of rows. Plain classes
become frozen dataclasses; ``torch.nn.Module`` subclasses (parts with learned or running state) keep their module
behaviour and get the same constructor. Each parameter is described once, on its field:

>>> @part
... class Scale:
...     factor: float = positive(2.0, "what the score is multiplied by")
>>> Scale()
Scale(factor=2.0)
>>> Scale(factor=-1.0)
Traceback (most recent call last):
    ...
dipole.core.errors.ParameterError: scale: factor must be a number above 0, got -1.0; for example 2.0
>>> [(p.name, p.default, p.rule) for p in schema(Scale)]
[('factor', 2.0, 'a number above 0')]
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

from torch import nn

from dipole.core.errors import ParameterError, UnknownNameError

T = TypeVar("T")
REQUIRED: Any = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One entry of a part's schema."""

    name: str
    type: str
    default: Any  # REQUIRED where there is none
    rule: str
    about: str


def _field(default: Any, rule: str, allows: Callable[[Any], bool], about: str) -> Any:
    metadata = {"rule": rule, "allows": allows, "about": about}
    if isinstance(default, (list, dict, set)):
        raise TypeError("a part's default must be immutable: use a tuple")
    return dataclasses.field(default=default, metadata=metadata)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def positive(default: Any = REQUIRED, about: str = "") -> Any:
    """A finite number above 0."""
    return _field(default, "a number above 0", lambda v: _number(v) and 0 < v < math.inf, about)


def at_least(low: float, default: Any = REQUIRED, about: str = "") -> Any:
    """A finite number no smaller than ``low``."""
    return _field(default, f"a number of at least {low}", lambda v: _number(v) and low <= v < math.inf, about)


def between(low: float, high: float, default: Any = REQUIRED, about: str = "") -> Any:
    """A number from ``low`` to ``high``, both included."""
    return _field(default, f"a number from {low} to {high}", lambda v: _number(v) and low <= v <= high, about)


def real(default: Any = REQUIRED, about: str = "") -> Any:
    """Any finite number."""
    return _field(default, "a finite number", lambda v: _number(v) and math.isfinite(v), about)


def numbers(default: tuple[float, ...] = (), about: str = "") -> Any:
    """A list of finite numbers above 0, such as how often each class is."""
    allows = lambda v: isinstance(v, tuple) and all(_number(x) and 0 < x < math.inf for x in v)  # noqa: E731
    return _field(default, "a list of numbers above 0", allows, about)


def choice(options: tuple[str, ...], default: Any = REQUIRED, about: str = "") -> Any:
    """One of a closed list of words."""
    return _field(default, "one of " + ", ".join(options), lambda v: v in options, about)


def switch(default: Any = REQUIRED, about: str = "") -> Any:
    """True or False."""
    return _field(default, "true or false", lambda v: isinstance(v, bool), about)


def words(default: Any = REQUIRED, about: str = "") -> Any:
    """A text."""
    return _field(default, "a text", lambda v: isinstance(v, str), about)


def inner(slot: str, default: Callable[[], Any] | None = None, about: str = "") -> Any:
    """A part inside a part: an object in Python, ``{ use = "...", ... }`` or a name of that slot in a recipe. Without ``default`` it
    must be given."""
    metadata = {"rule": f"a part of slot {slot}", "allows": lambda v: is_part(type(v)), "about": about, "slot": slot}
    return dataclasses.field(metadata=metadata) if default is None else dataclasses.field(default_factory=default, metadata=metadata)


def names(default: Any = REQUIRED, about: str = "") -> Any:
    """A list of texts, a tuple in Python."""
    return _field(default, "a list of texts", lambda v: isinstance(v, tuple) and all(isinstance(n, str) and n for n in v), about)


def wrapped(about: str = "") -> Any:
    """The part this one goes around, built before it; a recipe lists it first and does not name it again."""
    field = _field(REQUIRED, "the part that is wrapped", lambda v: callable(v), about)
    return dataclasses.field(metadata={**field.metadata, "wrapped": True})


def wraps(cls: type) -> str:
    """The name of the field that a wrapper's inner part goes to; empty where the part wraps nothing."""
    return next((f.name for f in dataclasses.fields(cls) if f.metadata.get("wrapped")), "")


def optional(field: Any) -> Any:
    """The same rule, but ``None`` is allowed and is the default."""
    allows, rule = field.metadata["allows"], field.metadata["rule"]
    return _field(None, f"{rule}, or left out", lambda v: v is None or allows(v), field.metadata["about"])


def part_name(cls: type) -> str:
    """``AlignUniform`` -> ``align_uniform``; acronyms stay whole (``InfoNCE`` -> ``infonce``) where the module says so."""
    stem = cls.__module__.rsplit(".", 1)[-1]
    flat = cls.__name__.lower()
    if stem.replace("_", "") == flat:
        return stem
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


def schema(cls: type) -> list[Parameter]:
    """The parameters of a part, in order."""
    hints = typing.get_type_hints(cls)
    return [
        Parameter(f.name, _type_name(hints[f.name]), f.default, f.metadata.get("rule", ""), f.metadata.get("about", ""))
        for f in dataclasses.fields(cls)
        if f.init and not f.metadata.get("wrapped")
    ]


def _type_name(hint: Any) -> str:
    if isinstance(hint, types.UnionType):
        return " | ".join(_type_name(h) for h in typing.get_args(hint))
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _check(instance: Any) -> None:
    for f in dataclasses.fields(instance):
        value = getattr(instance, f.name)
        allows = f.metadata.get("allows")
        whole = f.type in ("int", int) and isinstance(value, float)
        if (allows is not None and not allows(value)) or whole:
            rule = f.metadata["rule"].replace("number", "whole number") if whole else f.metadata["rule"]
            remedy = f"for example {f.default!r}" if f.default not in (REQUIRED, None) else ""
            raise ParameterError(part_name(type(instance)), f.name, rule, value, remedy)


def _named_arguments(cls: type, init: Callable[..., None]) -> Callable[..., None]:
    """The constructor, with near-miss errors for unknown names."""
    known = [f.name for f in dataclasses.fields(cls) if f.init]

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in known:
                raise UnknownNameError("parameter", name, known, part_name(cls))
        if isinstance(self, nn.Module):
            nn.Module.__init__(self)
        init(self, *args, **kwargs)

    return checked


@dataclass_transform()  # no field_specifiers: their defaults are positional, which type checkers would not see
def part(cls: type[T]) -> type[T]:
    """Declare a class as a part. See the module's text.

    A part that defines ``__post_init__`` runs it after its parameters are checked.
    """
    later = cls.__dict__.get("__post_init__")

    def __post_init__(self: Any) -> None:
        _check(self)
        if later is not None:
            later(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    module = issubclass(cls, nn.Module)
    declared = dataclasses.dataclass(frozen=not module, eq=not module, repr=not module)(cls)
    declared.__init__ = _named_arguments(declared, declared.__init__)  # type: ignore[method-assign]
    declared.__is_part__ = True  # type: ignore[attr-defined]
    return declared


def is_part(cls: object) -> bool:
    """Whether ``cls`` is a class declared with :func:`part`."""
    return isinstance(cls, type) and "__is_part__" in cls.__dict__
