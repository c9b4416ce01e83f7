"""``diagnose``: a model on rows, a training run, or both, as a report.

>>> # report = diagnose(encoder, rows); report.write_html(Path("report.html")); report.json()["verdicts"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dipole.core.errors import UsageError
from dipole.core.files import replace_text
from dipole.modality.load import open_encoder
from dipole.report import curves, page, pictures, training
from dipole.report.drawing import Picture
from dipole.report.inputs import Items, Options, Vectors, encode_items, open_data, read_items
from dipole.report.measure import Drawn, compare, measure
from dipole.report.verdicts import Verdict, judge, judge_training


@dataclass(frozen=True, eq=False)
class Report:
    """What was found. ``values`` plain values for programs; ``facts`` what it is about, for people; ``sections`` of pictures."""

    values: Mapping[str, Any]
    verdicts: Sequence[Verdict]
    facts: Mapping[str, str]
    notes: Sequence[str]
    sections: Sequence[tuple[str, str, Sequence[Picture]]] = field(default=())

    def json(self) -> dict[str, Any]:
        """``alignment``, ``uniformity``, ``effective_rank``, ``isotropy`` (None where undefined), ``verdicts``, and everything else."""
        return {**self.values, "verdicts": [verdict.json() for verdict in self.verdicts], "notes": list(self.notes)}

    def html(self) -> str:
        """One page that opens offline. Needs the extra ``report``."""
        return page.render(self.facts, self.verdicts, self.sections, self.notes)

    def write_html(self, path: Path) -> None:
        """:meth:`html` into a file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, self.html())


def diagnose(
    encoder: Any,
    rows: Any,
    *,
    second: Any = None,
    name: str = "model",
    data: str = "rows",
    options: Options | None = None,
) -> Report:
    """A model on rows (any sequence of mappings with ``anchor`` and, where there are, ``positive``, ``negative``, ``label``, ``score``).

    ``encoder``: anything with ``encode(items, batch_size=, progress=, side=)``. ``second``: another model to compare it with.
    Raises DataError for NaN vectors, with the row, and for fewer than two usable rows.
    """
    options = options or Options()
    seed = options.seed
    items = read_items(rows, options.sample, seed, captions=_takes_captions(encoder))
    seen = encode_items(encoder, items, options.batch_size, options.progress)
    values, drawn = measure(seen, seed)
    compared = None if second is None else compare(seen, encode_items(second, items, options.batch_size, options.progress), seed)
    values = {"model": name, "data": data, **values, "counts": _counts(items, seen), "compared": compared, "training": None}
    facts = {"model": name, "data": data, "rows": _rows(items, seen), "dimension": str(values["vectors"]["dimension"])}
    if compared is not None:
        shared = compared.get("mutual_neighbours")
        facts["agreement with the second model"] = f"CKA {compared['cka']:.3f}" + (
            "" if shared is None else f", {shared:.0%} shared neighbours"
        )
    about = "Where the vectors lie, how similar pairs are, and how many directions are used."
    section = ("The vectors", about, pictures.of_vectors(values, drawn, seen, options.how, seed))
    return Report(values, judge(values), facts, _notes(items, seen, drawn), (section,))


def diagnose_files(model: str, data: Path | None = None, second: str = "", options: Options | None = None) -> Report:
    """The same from names and files, as on the command line; a run folder adds its training, and may come without data.

    Raises UsageError where there is neither data nor a run.
    """
    options = options or Options()
    run = training.is_run(model)
    if data is None and not run:
        raise UsageError(f"diagnose: {model} is no run folder, so it needs rows to look at; give --data FILE")
    told = training.read_run(model) if run else None
    report = _of_the_run_alone(model) if data is None else None
    if data is not None:
        encoder = open_encoder(model, options.max_tokens)
        rows = open_data(data, encoder)
        other = open_encoder(second, options.max_tokens) if second else None
        report = diagnose(encoder, rows, second=other, name=model, data=str(data), options=options)
        if told is not None:
            items = read_items(rows, training.PLANE_ROWS, options.seed, captions=_takes_captions(encoder))
            points = training.plane_of_checkpoints(model, encoder, items, options.batch_size) if items.positives else []
            if len(points) > len(told["plane"]):
                told |= {"plane": points, "plane_from": f"checkpoints, on {data}"}
        if other is not None:
            report.values["compared"]["second"] = second
    assert report is not None
    return report if told is None else _with_training(report, told)


def _with_training(report: Report, told: Mapping[str, Any]) -> Report:
    about = f"{told['steps']:,} steps{'' if told['finished'] else ', not finished'}. Fields of log.jsonl: docs/doctor.md."
    section = ("The training", about, curves.of_training(told))
    facts = {**report.facts, "steps": f"{told['steps']:,}"}
    values = {**report.values, "training": told}
    return Report(values, [*report.verdicts, *judge_training(told)], facts, report.notes, (*report.sections, section))


def _of_the_run_alone(model: str) -> Report:
    names = ("alignment", "uniformity", "effective_rank", "isotropy", "vectors", "pairs", "negatives", "classes", "surface", "compared")
    values = {"model": model, "data": None, **dict.fromkeys(names), "counts": None}
    return Report(values, [], {"run": model}, ("no --data was given, so only the log was looked at",))


def _takes_captions(encoder: Any) -> bool:
    """Whether texts may be positives of items that are none: an encoder with a tower for each."""
    return hasattr(encoder, "text") and hasattr(encoder, "image")


def _counts(items: Items, seen: Vectors) -> dict[str, Any]:
    return {
        "rows": items.of,
        "looked_at": len(items.anchors),
        "zero_vectors": seen.zero,
        "left_out": dict(items.left_out),
        "cut": list(seen.cut),
    }


def _rows(items: Items, seen: Vectors) -> str:
    return f"{len(seen.anchors):,}" if len(seen.anchors) == items.of else f"{len(seen.anchors):,} of {items.of:,}"


def _notes(items: Items, seen: Vectors, drawn: Drawn) -> list[str]:
    said = [f"{count} {reason} were left out" for reason, count in items.left_out.items()]
    if seen.zero:
        places = seen.items.numbers
        gone = sorted(set(range(len(places))) - set([] if seen.kept is None else seen.kept.tolist()))
        said.append(f"rows with a vector of 0: {', '.join(str(places[i]) for i in gone[:10])}{' ...' if len(gone) > 10 else ''}")
    return [*said, *drawn.notes]
