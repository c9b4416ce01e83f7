"""A report on the terminal: verdicts with their numbers, then what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dipole.report.page import number
from dipole.report.verdicts import ORDER, Verdict

MARKS = {"healthy": ("●", "green"), "watch": ("▲", "yellow"), "ill": ("✖", "red"), "unknown": ("○", "dim")}


def show(console: Any, facts: Mapping[str, str], verdicts: Sequence[Verdict], notes: Sequence[str]) -> None:
    """Print it. ``console``: rich's."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text("   ").join(Text.assemble((f"{name} ", "dim"), value) for name, value in facts.items()))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title, side in (("", "left"), ("", "left"), ("value", "right"), ("healthy", "left"), ("what it says", "left")):
        table.add_column(title, justify=side, overflow="fold")  # type: ignore[arg-type]
    for verdict in sorted(verdicts, key=lambda one: ORDER.index(one.status)):
        mark, colour = MARKS[verdict.status]
        name = Text(verdict.name, "bold" if verdict.status in ("ill", "watch") else "")
        table.add_row(Text(mark, colour), name, number(verdict.value), Text(verdict.healthy, "dim"), Text(verdict.message))
    console.print(table)
    tries = [verdict for verdict in verdicts if verdict.remedy and verdict.status in ("ill", "watch")]
    if tries:
        console.print(Text("what to try", "bold"))
        for verdict in tries:
            console.print(Text.assemble(("  ", ""), (verdict.name, MARKS[verdict.status][1]), f": {verdict.remedy}"))
    for note in notes:
        console.print(Text(f"note: {note}", "dim"))
