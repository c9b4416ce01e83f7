"""Check a spec against the parts' own declarations, then build it: cheap parts first, the encoder last."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dipole.assembly import toml
from dipole.assembly.discover import SINGLE, SLOTS, find
from dipole.assembly.spec import Spec
from dipole.core.errors import ParameterError, UnknownNameError, UsageError
from dipole.core.part import REQUIRED, schema, wraps
from dipole.train.objective import USUAL, Between
from dipole.train.recipe import Recipe
from dipole.train.rng import seed_everything

_NEEDED = ("rows", "views", "encoder", "losses")  # or regularizers in place of losses
_RESERVED = {"losses": ("use", "weight", "between"), "regularizers": ("use", "weight")}


@dataclass(frozen=True)
class Choice:
    """A checked entry: the class, and every parameter with defaults filled in."""

    slot: str
    use: str
    cls: type
    given: Mapping[str, Any]
    values: Mapping[str, Any]
    weight: float = 1.0
    between: Between = USUAL


def check(spec: Spec, complete: bool = True) -> dict[str, list[Choice]]:
    """Every part, parameter and value checked; nothing is built. Errors name file, line, rule and remedy.

    ``complete``: parameters without a default must be there too (a data file's path, say).
    """
    if not spec.parts and spec.paper.get("gives"):
        given = ", ".join(spec.paper["gives"])
        raise UsageError(f"{spec.path}: describes a paper without a training recipe of its own; what dipole takes from it: {given}")
    for slot in _NEEDED:
        if not spec.parts.get(slot) and not (slot == "losses" and spec.parts.get("regularizers")):
            raise UsageError(f'{spec.path}: lacks {slot}; add it under [parts], for example {slot} = {{ use = "..." }}')
    chosen: dict[str, list[Choice]] = {}
    for slot in SLOTS:
        entries = spec.parts.get(slot, [{"use": slot}] if slot in SINGLE else [])
        chosen[slot] = [_checked(spec, slot, number, entry, complete) for number, entry in enumerate(entries)]
    return chosen


def resolved(spec: Spec) -> str:
    """The recipe as TOML with every default filled in; loading it gives the same recipe."""
    parts: dict[str, Any] = {}
    for slot, choices in check(spec, complete=False).items():
        entries = [
            {
                **({} if slot in SINGLE else {"use": c.use}),
                **({"weight": c.weight} if c.weight != 1.0 else {}),
                **({"between": c.between} if c.between != USUAL else {}),
                **{k: _plain(v) for k, v in c.values.items() if v is not None},
            }
            for c in choices
        ]
        if entries:
            parts[slot] = entries if len(entries) > 1 or slot in ("negatives", "losses", "regularizers") else entries[0]
    lines = [f"{slot} = {toml.value(entry)}\n" for slot, entry in parts.items()]
    head = toml.dumps({"schema": 1, "paper": dict(spec.paper)} if spec.paper else {"schema": 1})
    return head + "\n[parts]\n" + "".join(lines)


def build(spec: Spec) -> Recipe:
    """The parts of a run. Fresh weights are drawn from the recipe's seed."""
    chosen = check(spec)
    step = _made(chosen["step"][0])
    seed_everything(step.seed)
    batches = _made(chosen["batches"][0])
    score, balance = ([_made(c) for c in chosen[slot]] for slot in ("score", "balance"))
    terms = [*chosen["losses"], *chosen["regularizers"]]
    losses = tuple(_made(c) for c in terms)
    views = _made(chosen["views"][0])
    rows = tuple(_made(c) for c in chosen["rows"])
    return Recipe(
        rows=rows,
        views=views,
        encoder=_wrapped(chosen["encoder"]),
        negatives=tuple(_made(c) for c in chosen["negatives"]),
        losses=losses,
        weights=tuple(c.weight for c in terms),
        between=tuple(c.between for c in terms),
        step=step,
        batches=batches,
        name=spec.id,
        text=resolved(spec),
        balance=balance[0] if balance else None,
        **({"score": score[0]} if score else {}),
    )


def _made(choice: Choice) -> Any:
    return choice.cls(**{name: _made(v) if isinstance(v, Choice) else v for name, v in choice.given.items()})


def _plain(value: Any) -> Any:
    """A value as a recipe holds it."""
    if not isinstance(value, Choice):
        return value
    return {"use": value.use, **{k: _plain(v) for k, v in value.values.items() if v is not None}}


def _wrapped(choices: list[Choice]) -> Any:
    """The first part, inside the second, inside the third ..."""
    made = _made(choices[0])
    for choice in choices[1:]:
        made = choice.cls(**{wraps(choice.cls): made}, **choice.given)
    return made


def _checked(spec: Spec, slot: str, number: int, entry: Mapping[str, Any], complete: bool) -> Choice:
    found = _checked_at(slot, entry, complete, lambda key: spec.where(slot, number, key))
    if bool(wraps(found.cls)) != (slot == "encoder" and number > 0):
        rule = "goes around an encoder" if wraps(found.cls) else "goes around nothing"
        remedy = 'write encoder = [{ use = "the encoder" }, { use = "a wrapper" }, ...]'
        raise UsageError(f"{spec.where(slot, number)}: {found.use} {rule}; {remedy}")
    return found


def _checked_at(slot: str, entry: Mapping[str, Any], complete: bool, place: Callable[[str], str]) -> Choice:
    """``place``: key -> where in which file it stands."""
    use = entry["use"]
    cls = find(slot, use, place("use")).load()
    parameters = {p.name: p for p in schema(cls)}
    fields = {f.name: f for f in dataclasses.fields(cls)}
    reserved = _RESERVED.get(slot, ("use",))
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items() if key not in reserved}
    for key, value in given.items():
        where = f"{place(key)}: {use}"
        if key not in parameters:
            raise UnknownNameError("parameter", key, parameters, where)
        if "slot" in fields[key].metadata:
            given[key] = _inner(fields[key].metadata["slot"], key, value, complete, where)
            continue
        allows, rule = fields[key].metadata.get("allows"), parameters[key].rule
        whole = parameters[key].type == "int" and isinstance(value, float)
        if (allows is not None and not allows(value)) or whole:
            default = parameters[key].default
            remedy = f"for example {default!r}" if default not in (REQUIRED, None) else ""
            raise ParameterError(where, key, rule.replace("number", "whole number") if whole else rule, value, remedy)
    for name, parameter in parameters.items() if complete else ():
        if parameter.default is REQUIRED and name not in given and fields[name].default_factory is dataclasses.MISSING:
            told = f": {parameter.about}" if parameter.about else ""
            remedy = "give --data FILE" if slot == "rows" else f"set {slot}.{name}"
            raise UsageError(f"{place('use')}: {use} needs {name}{told}; {remedy}")
    weight = entry.get("weight", 1.0)
    if "weight" in reserved and (isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf):
        raise ParameterError(f"{place('weight')}: {use}", "weight", "a number of at least 0", weight)
    values = {name: given.get(name, p.default if p.default is not REQUIRED else None) for name, p in parameters.items()}
    between = tuple(entry.get("between", USUAL)) if "between" in reserved else USUAL
    if len(between) != 2 or not all(isinstance(side, str) and side for side in between):
        raise ParameterError(f"{place('between')}: {use}", "between", 'two sides, for example ["keys", "queries"]', entry["between"])
    return Choice(slot, use, cls, given, values, float(weight), (between[0], between[1]))


def _inner(slot: str, key: str, value: Any, complete: bool, where: str) -> Choice:
    """The entry of a part inside a part."""
    entry = {"use": value} if isinstance(value, str) else value
    if not isinstance(entry, Mapping) or not isinstance(entry.get("use"), str):
        raise ParameterError(where, key, 'a part: { use = "..." } or its name', value)
    return _checked_at(slot, entry, complete, lambda _: f"{where}: {key}")
