"""``audit``: read data once, or twice where a check wants a second look, and report what is wrong with it.

Memory grows by 300 to 450 bytes a row whatever the texts' length; nothing is compared pair by pair but what may be alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dipole.audit.check import Block, Check, Cleaning
from dipole.audit.checks.exact import Duplicates, Empty
from dipole.audit.checks.labels import Labels
from dipole.audit.checks.languages import Languages
from dipole.audit.checks.leaks import Held, Leaks, between
from dipole.audit.checks.meaning import Encode, Meaning
from dipole.audit.checks.near_rows import NearRows
from dipole.audit.checks.negatives import Negatives
from dipole.audit.checks.truncated import Reader, Truncated
from dipole.audit.content import normal
from dipole.audit.findings import Finding, Report
from dipole.audit.source import TEXTS, Item, Source, open_source
from dipole.core.errors import DataError, ParameterError, UsageError
from dipole.core.extras import need


@dataclass(frozen=True, eq=False)
class Settings:
    """What an audit looks at beside the data itself.

    ``splits``: name -> file, other parts of the same data; ``against``: evaluation files. ``readers``: encoders whose truncation is
    counted. ``teacher``: an encoder's name and how it encodes; None: nothing is compared by meaning. ``columns``: roles that names do
    not tell. ``threshold``: Jaccard index from which on rows are nearly the same. ``progress``: a bar on stderr.
    """

    splits: Mapping[str, str | Path] = field(default_factory=dict)
    against: Sequence[str | Path] = ()
    readers: Sequence[Reader] = ()
    teacher: tuple[str, Encode] | None = None
    columns: str = ""
    header: bool = True
    threshold: float = 0.8
    progress: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold <= 1.0:
            raise ParameterError(
                "audit", "threshold", "a number from 0.5 to 1, since fewer shared 5-grams are not looked for", self.threshold
            )


def audit(data: str | Path | Sequence[str | Path], settings: Settings | None = None) -> Report:
    """The findings in files of rows.

    Raises UsageError where a file is missing or its ending unknown, DataError where a file holds no row at all or no column can be
    the anchor. Rows that are broken are findings.
    """
    settings = settings or Settings()
    places = [data] if isinstance(data, (str, Path)) else list(data)
    source = open_source(places, settings.columns, settings.header)
    return report_on(source, settings)


def report_on(source: Source, settings: Settings) -> Report:
    """:func:`audit` of files that are open already."""
    held = _held(source, settings)
    empty, near = Empty(), NearRows(settings.threshold)
    checks: list[Check] = [empty, Duplicates(), near, Negatives(), *([Leaks(held, settings.threshold)] if held else []), Labels()]
    checks += [Truncated(reader) for reader in settings.readers]
    checks.append(Languages())
    if settings.teacher is not None:
        checks.append(Meaning(*settings.teacher))
    with closing(near):
        rows = _look(source, checks, empty, settings.progress)
        cleaning = Cleaning()
        findings = list(_told(source, checks, cleaning))
    findings += between(held, settings.threshold)
    files = ", ".join(str(path) for path in source.files)
    notes = [f"{rows} rows of {files}; {source.columns.text()}", *(note for check in checks for note in check.notes())]
    return Report(rows, findings, notes, cleaning.rows, cleaning.negatives)


def _look(source: Source, checks: Sequence[Check], empty: Empty, progress: bool) -> int:
    """Show every check all rows, and those it wants again; the number of rows."""
    rows = 0
    for block in _shown(source.blocks(), "audit", progress):
        usable = []
        for index, item in enumerate(block, rows):
            if item.problem:
                empty.add(index, item)
            else:
                usable.append((index, item, texts_of(item)))
        rows += len(block)
        for check in checks:
            check.see(usable)
    wanting = [(check, set(check.wants())) for check in checks]
    wanting = [(check, wanted) for check, wanted in wanting if wanted]
    if wanting:
        _again(_shown(source.blocks(), "look again", progress, rows), wanting)
    return rows


def _told(source: Source, checks: Sequence[Check], cleaning: Cleaning) -> Iterator[Finding]:
    """All findings; a teacher's only where content did not say the same already."""
    told: set[tuple[str, str, int]] = set()
    for check in checks:
        for finding in check.findings(source, cleaning):
            if not (isinstance(check, Meaning) and (finding.kind, finding.file, finding.rows[0]) in told):
                yield finding
            told |= {(finding.kind, finding.file, row) for row in finding.rows}


def _shown(blocks: Iterable[list[Item]], what: str, progress: bool, rows: int | None = None) -> Iterator[list[Item]]:
    """The blocks, with a bar that counts their rows."""
    if not progress:
        yield from blocks
        return
    with need("tqdm", "text", "a progress bar").tqdm(desc=what, unit="row", total=rows, leave=False) as bar:
        for block in blocks:
            yield block
            bar.update(len(block))


def _again(blocks: Iterable[list[Item]], wanting: Sequence[tuple[Check, set[int]]]) -> None:
    index = 0
    for block in blocks:
        seen: dict[int, tuple[int, Item, list[tuple[str, str]]]] = {}
        for check, wanted in wanting:
            chosen: list[tuple[int, Item, list[tuple[str, str]]]] = []
            for number, item in enumerate(block, index):
                if number in wanted and not item.problem:
                    if number not in seen:
                        seen[number] = (number, item, texts_of(item))
                    chosen.append(seen[number])
            again: Block = chosen
            check.see_again(again)
        index += len(block)


def texts_of(item: Item) -> list[tuple[str, str]]:
    """A row's texts as they are compared, anchors first."""
    return [(role, normal(text)) for role in TEXTS for text in item.of(role)]


def _held(source: Source, settings: Settings) -> list[Held]:
    own = {path.resolve() for path in source.files}
    held = []
    for name, place in [*settings.splits.items(), *((str(Path(p).name), p) for p in settings.against)]:
        if Path(place).expanduser().resolve() in own:
            raise UsageError(f"{place} is the data itself; give another file to compare it with")
        held.append(Held(name, _opened(place, settings), settings.threshold))
    return held


def _opened(place: str | Path, settings: Settings) -> Source:
    """A file beside the data: its columns are those given, where it has them, and found by their names otherwise."""
    try:
        return open_source([place], settings.columns, settings.header)
    except DataError:
        if not settings.columns:
            raise
        return open_source([place], "", settings.header)
