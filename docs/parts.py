"""What ``docs/losses.md`` and ``docs/negatives.md`` take from the code: docstrings and parameters of parts, recipes that use them, cost."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

from reading import ROOT, cell, measured, prose

from dipole.assembly.discover import Found, discover
from dipole.core.part import REQUIRED, schema

FIELDS = ("Shapes", "Source", "Values", "Cost", "Relation", "Errors")
_FIELD = re.compile(rf"(?:^|(?<=[\s;]))({'|'.join(FIELDS)}): ")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def summary(slot: str) -> str:
    """One row a part: what it is, what it costs beside InfoNCE where that was measured, who uses it."""
    costs = _costs() if slot == "losses" else {}
    head = ("| time | memory " if costs else "") + "| recipes |"
    rows = [f"| part | what it is {head}", f"{'|---' * (head.count('|') + 1)}|"]
    for _, parts in _folders(slot):
        for found in parts:
            measured = f" {costs.get(found.name, 'not measured | ')} |" if costs else ""
            link, first = f"[`{found.name}`](#{_anchor(found.name)})", cell(_said(found)["first"])
            rows.append(f"| {link} | {first} |{measured} {_used_by(slot, found.name)} |")
    return "\n".join(rows)


def definitions(slot: str) -> str:
    """Every part of a slot in full: formula, prose, parameters."""
    out: list[str] = []
    for about, parts in _folders(slot):
        out += [f"## {about}", ""] if about else []
        for found in parts:
            said = _said(found)
            out += [f"### {found.name}", "", prose(said["first"]), ""]
            for block in said["blocks"]:
                out += ["```text", textwrap.dedent(block), "```", ""] if block.startswith("    ") else [prose(block), ""]
            out += [f"* **{field}**: {_linked(prose(text))}" for field, text in said["fields"].items()]
            if used := _used_by(slot, found.name):
                out.append(f"* **Recipes**: {used}")
            out += ["", *_parameters(found), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).rstrip()


def circumstances() -> str:
    """Where the costs were measured."""
    found = measured("losses")
    where = f"{found['machine']['threads']} threads of an {found['machine']['cpu']}, torch {found['versions']['torch']}, {found['date']}"
    return (
        f"Time and memory of forward and backward beside `infonce` on the same {found['batch']:,} rows of {found['dim']} dimensions "
        f"(three views where a loss wants several, so {found['batch'] // 3:,} items); {where}. `python -m bench.losses`"
    )


def _parameters(found: Found) -> list[str]:
    options = schema(found.load())
    if not options:
        return []
    rows = ["| parameter | default | rule | |", "|---|---|---|---|"]
    for p in options:
        default = "required" if p.default is REQUIRED else getattr(p.default, "__name__", repr(p.default))
        rows.append(f"| `{p.name}` | `{cell(default)}` | {cell(p.rule)} | {cell(p.about)} |")
    return rows


def _folders(slot: str) -> Iterator[tuple[str, list[Found]]]:
    """What a slot's folder says of itself -> its parts. A flat slot is one folder without a heading."""
    parts: dict[str, list[Found]] = {}
    for found in sorted(discover(slot).values(), key=lambda f: f.name):
        parts.setdefault(found.module.rpartition(".")[0], []).append(found)
    for module in sorted(parts, key=_place):
        about = (importlib.import_module(module).__doc__ or "").partition("\n")[0].partition(": ")[0]
        yield ("" if module.count(".") == 1 else about.split(". ")[0].rstrip(".")), parts[module]


# The order of the losses' page: what most people want first. A folder that is not here comes last.
ORDER = ("softmax", "sigmoid", "margin", "ranking", "geometry", "multiview", "around", "unlearning")


def _place(module: str) -> tuple[int, str]:
    name = module.rpartition(".")[2]
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _said(found: Found) -> dict[str, Any]:
    """A module's docstring: ``first`` line, ``blocks`` of formula and prose, ``fields`` by label; doctests are left out."""
    text = ast.get_docstring(ast.parse((ROOT / "src" / f"{found.module.replace('.', '/')}.py").read_text(encoding="utf-8"))) or ""
    first, _, rest = text.partition("\n")
    blocks: list[str] = []
    fields: dict[str, str] = {}
    for block in re.split(r"\n[ ]*\n", rest.strip("\n")):
        lines = [line for line in block.split("\n") if line.strip()]
        if not lines or lines[0].lstrip().startswith(">>>"):
            continue
        if all(line.startswith("    ") for line in lines):
            blocks.append("\n".join(lines))
            continue
        plain, *labelled = _FIELD.split(" ".join(line.strip() for line in lines))
        blocks += [plain] if plain.strip() else []
        fields |= dict(zip(labelled[::2], (text.strip() for text in labelled[1::2]), strict=True))
    return {"first": first, "blocks": blocks, "fields": {name: fields[name] for name in FIELDS if name in fields}}


@cache
def _uses() -> dict[tuple[str, str], list[str]]:
    """(slot, part) -> the recipes whose parts name it, at any depth; those of variants and small runs count as well."""
    held: dict[tuple[str, str], list[str]] = {}
    for path in sorted((ROOT / "src" / "dipole" / "recipes").rglob("*.toml")):
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = [recipe.get("parts", {}), *(v for v in recipe.get("variants", {}).values()), recipe.get("small", {}).get("with", {})]
        for slot in ("losses", "regularizers", "negatives"):
            names = {name for table in tables if isinstance(table, dict) for name in _names(table.get(slot, []))}
            for name in names:
                held.setdefault((slot, name), []).append(path.stem)
    return held


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _names(one)
    elif isinstance(value, dict):
        if isinstance(value.get("use"), str):
            yield value["use"]
        for one in value.values():
            yield from _names(one)


def _used_by(slot: str, name: str) -> str:
    return ", ".join(f"`{recipe}`" for recipe in _uses().get((slot, name), []))


def _costs() -> dict[str, str]:
    """Loss -> two cells: time and memory, in multiples of InfoNCE's."""
    found = measured("losses")
    return {name: f"{_times(one['time'])} | {_times(one['memory'])}" for name, one in found["losses"].items()} if found else {}


def _times(quotient: float) -> str:
    return f"{quotient:.1f}" if quotient >= 0.05 else "< 0.1"


def _linked(text: str) -> str:
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _anchor(name: str) -> str:
    return name.replace("_", "-").replace(".", "-")
