"""``dipole show``: one recipe with every default, the origin of its numbers and its departures from the paper."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's id or file.", metavar="RECIPE")],
    variant: Annotated[str, typer.Option(help="One of the recipe's variants.")] = "",
    change: Annotated[list[str] | None, typer.Option("--set", help="slot.parameter=value, as for train.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what a recipe does: its parts, where each number comes from, what differs from the paper.

    Example:
      dipole show simcse --variant supervised
    """
    import tomllib

    from dipole.assembly.build import resolved
    from dipole.assembly.spec import load

    spec = load(recipe, variant, change or [])
    text = resolved(spec) if spec.parts else "[parts]\n"
    if as_json:
        shown = {"id": spec.id, "file": str(spec.path), "variant": spec.variant, "variants": list(spec.variants), "paper": dict(spec.paper)}
        print(json.dumps({**shown, "parts": tomllib.loads(text)["parts"], "origin": dict(spec.origin)}, indent=1, ensure_ascii=False))
        return
    paper = spec.paper
    title = f"{spec.id}{f', variant {variant}' if variant else ''}: {paper.get('title', '')} ({paper.get('year', 'no year')})"
    blocks = [
        f"{title}\n{paper.get('url', '')}\narea {paper.get('area', '-')}, {paper.get('kind', '-')}, status {paper.get('status', '-')}"
    ]
    if spec.variants:
        blocks.append(f"Variants: {', '.join(spec.variants)}")
    blocks.append("What dipole takes from it:\n" + "\n".join(f"  - {given}" for given in paper.get("gives", []) or ["not said"]))
    if spec.parts:
        blocks.append("Parts, defaults filled in:\n" + text[text.index("[parts]") + len("[parts]\n") :].rstrip())
        blocks.append("Where the numbers come from:\n" + "\n".join(f"  {place}: {origin}" for place, origin in spec.origin.items()))
    blocks.append("Departures from the paper:\n" + "\n".join(f"  - {d}" for d in paper.get("deviations", []) or ["none"]))
    if spec.parts:
        blocks.append(f"Run it: dipole train {recipe}{f' --variant {variant}' if variant else ''} --data FILE --out DIR")
    print("\n\n".join(blocks))
