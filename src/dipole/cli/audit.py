"""``dipole audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dipole.audit.run import Settings


def run(
    data: Annotated[list[Path], typer.Argument(help="JSONL, CSV, TSV, TXT or Parquet files, or folders of them.", metavar="DATA...")],
    split: Annotated[list[str] | None, typer.Option(metavar="NAME=FILE", help="Another part of the same data; may be repeated.")] = None,
    against: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="An evaluation file; may be repeated.")] = None,
    encoder: Annotated[list[str] | None, typer.Option(help="Count what this encoder would cut: minilm, a folder ...")] = None,
    teacher: Annotated[str, typer.Option(help="An encoder whose vectors tell meaning; looks at 20000 rows at most.")] = "",
    columns: Annotated[str, typer.Option(help="Roles that names do not tell: 'anchor=question, positive=answer'.")] = "",
    threshold: Annotated[float, typer.Option(help="Jaccard index from which on rows are nearly the same.")] = 0.8,
    json: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all findings here.")] = None,
    fix: Annotated[Path | None, typer.Option(metavar="CLEAN", help="Write a cleaned copy here, and what went to CLEAN.dropped.")] = None,
    drop: Annotated[str, typer.Option(metavar="KIND,KIND", help="What --fix drops, instead of all that content proves.")] = "",
) -> None:
    """Find what is wrong with data before training on it: copies, leaks, false negatives, empty and cut texts.

    Rows are numbered as an editor shows their lines. docs/audit.md says what each finding means and how it is found.

    Example:
      dipole audit train.jsonl --split dev=dev.jsonl --against sts.tsv --encoder minilm --json findings.json
      dipole audit train.jsonl --fix clean.jsonl
    """
    from json import dumps

    from dipole.audit.findings import FIXED, known_kinds
    from dipole.audit.fix import audit_and_fix
    from dipole.audit.run import audit
    from dipole.core.errors import UsageError
    from dipole.core.files import replace_text

    kinds = known_kinds([name.strip() for name in drop.split(",") if name.strip()]) or FIXED
    if drop and fix is None:
        raise UsageError("--drop says what --fix leaves out; give --fix CLEAN")
    if json is not None and not json.absolute().parent.is_dir():
        raise UsageError(f"{json.absolute().parent}: no such folder")
    settings = _settings(split or [], against or [], encoder or [], teacher, columns, threshold)
    if fix is None:
        report, cleaned = audit(data, settings), None
    else:
        report, cleaned = audit_and_fix(data, fix, settings, kinds)
    if json is not None:
        replace_text(json, dumps(report.json(), indent=1, ensure_ascii=False) + "\n")
    for line in report.text():
        typer.echo(line)
    if cleaned is not None:
        typer.echo(cleaned.text())


def _settings(split: list[str], against: list[Path], encoders: list[str], teacher: str, columns: str, threshold: float) -> Settings:
    import sys

    from dipole.audit.run import Settings
    from dipole.core.errors import UsageError

    splits = {}
    for text in split:
        name, equals, place = text.partition("=")
        if not (name and equals and place) or name in splits:
            raise UsageError(f"--split {text!r}: write NAME=FILE, each name once, for example dev=dev.jsonl")
        splits[name] = place
    readers = []
    for name in encoders:
        from dipole.modality.text.encoders.transformer import Transformer
        from dipole.modality.text.lengths import TokenCounts

        readers.append(TokenCounts(name, Transformer(model=name)))
    told, progress = None, sys.stderr.isatty()
    if teacher:
        from dipole.modality.text.load import load_encoder

        model = load_encoder(teacher)
        told = (teacher, lambda texts, side: model.encode(texts, side=side, progress=progress))
    return Settings(splits, against, readers, told, columns, threshold=threshold, progress=progress)
