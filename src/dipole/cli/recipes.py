"""``dipole recipes``: which published methods can be run."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def run(
    area: Annotated[str, typer.Option(help="Only this area (a folder of recipes).")] = "",
    tag: Annotated[str, typer.Option(help="Only recipes with this tag.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the recipes that come with dipole.

    Example:
      dipole recipes --tag supervised
    """
    listed = [e for e in catalogue() if (not area or e["area"] == area) and (not tag or tag in e.pop("tags"))]
    for entry in listed:
        entry.pop("tags", None)
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
