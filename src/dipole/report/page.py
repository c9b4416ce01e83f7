"""A report as one page that opens from disk, offline: everything it needs is inside, and its policy forbids it to ask for more."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from dipole.core.extras import need
from dipole.report.drawing import Picture
from dipole.report.verdicts import ORDER, Verdict


def render(
    facts: Mapping[str, str], verdicts: Sequence[Verdict], sections: Sequence[tuple[str, str, Sequence[Picture]]], notes: Sequence[str]
) -> str:
    """The page. ``facts`` head it; ``sections``: title, a sentence, pictures. Needs the extra ``report``."""
    jinja = need("jinja2", "report", "a report as HTML")
    script = need("plotly.offline", "report", "pictures").get_plotlyjs()
    template = resources.files("dipole.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    ordered = sorted(verdicts, key=lambda verdict: ORDER.index(verdict.status))
    counts = {status: sum(v.status == status for v in verdicts) for status in ORDER}
    pictures = {picture.key: {"data": picture.data, "layout": picture.layout} for _, _, shown in sections for picture in shown}
    text: str = environment.from_string(template).render(
        title=next(iter(facts.values())),
        facts=dict(list(facts.items())[1:]),
        verdicts=ordered,
        counts={status: count for status, count in counts.items() if count},
        sections=sections,
        notes=notes,
        number=number,
        plotly=script.replace("</script", "<\\/script"),
        pictures=json.dumps(_plain(pictures), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    )
    return text


def number(value: float | None) -> str:
    """A figure for people: three digits that count.

    >>> [number(v) for v in (None, 0.0, 0.12345, -3.7012, 218.62, 5000.0)]
    ['none', '0', '0.123', '-3.70', '219', '5,000']
    """
    if value is None or math.isnan(value):
        return "none"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """Plain values, with what is not finite left out as null."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
