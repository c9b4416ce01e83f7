"""``dipole recipes``: which published methods can be run."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def run(
    area: Annotated[str, typer.Option(help="Only this area (a folder of recipes).")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only recipes with this tag; several: with all of them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the recipes that come with dipole.

    Example:
      dipole recipes --area vision-language --tag sigmoid --json
    """
    from dipole.assembly.tags import known
    from dipole.core.errors import UnknownNameError

    wanted, listed = set(tag or ()), catalogue()
    known(sorted(wanted))
    if area and area not in (areas := {e["area"] for e in listed}):
        raise UnknownNameError("area", area, areas)
    chosen = [e for e in listed if (not area or e["area"] == area) and wanted <= set(e["tags"])]
    listed = [{key: value for key, value in e.items() if key != "tags"} for e in chosen]
    if as_json:
        print(json.dumps(listed, indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "title", "area", "kind", "status", "losses")
    for e in listed:
        table.add_row(e["id"], e["title"], e["area"], e["kind"], e["status"], ", ".join(e["parts"].get("losses", [])))
    Console().print(table)
    print("dipole show ID says more.")


def catalogue() -> list[dict[str, Any]]:
    """Every recipe: id, n, title, area, kind, status, parts (slot -> names), gives, deviations, tags."""
    from dipole.assembly.spec import load, recipe_files

    found = []
    for name in recipe_files():
        spec = load(name)
        entry = {"id": name, "n": spec.paper.get("n")}
        entry |= {key: spec.paper.get(key, "") for key in ("title", "area", "kind", "status")}
        entry["parts"] = {slot: [e["use"] for e in entries] for slot, entries in spec.parts.items() if slot != "step"}
        entry |= {key: spec.paper.get(key, []) for key in ("gives", "deviations", "tags")}
        found.append(entry)
    return found
