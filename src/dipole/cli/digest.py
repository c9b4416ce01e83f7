"""``dipole digest``: mails to those who subscribed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dipole.digest.office import Office
    from dipole.digest.source import Source

Frequency = Annotated[str, typer.Option(help="daily or weekly: only to these subscribers; with --subscribe, how often. [default: all]")]


def run(
    folder: Annotated[Path, typer.Argument(help="A collection, or a folder of collections.", metavar="DIR")],
    dry_run: Annotated[Path | None, typer.Option(help="Write the mails into this folder as .eml files and change nothing.")] = None,
    every: Frequency = "",
    date: Annotated[
        datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As if it were this day. [default: today, UTC]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="How to send, in TOML. [default: DIR/state/mail.toml and the environment]")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Where votes and subscribers are kept, as for dipole serve. [default: DIR/state]")
    ] = None,
    subscribe: Annotated[str, typer.Option(metavar="ADDRESS", help="Ask this address to confirm a subscription.")] = "",
    confirmed: Annotated[bool, typer.Option("--confirmed", help="With --subscribe: there is consent, do not ask.")] = False,
    query: Annotated[str, typer.Option(help="With --subscribe or --dry-run: what about. [default: trending]")] = "",
    collection: Annotated[str, typer.Option(help="Which of the collections in DIR. [default: the first]")] = "",
    forget: Annotated[str, typer.Option(metavar="ADDRESS", help="Delete all that is kept about this address.")] = "",
    show: Annotated[bool, typer.Option("--list", help="List the subscriptions.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write what was done, and to how many, here.")] = None,
) -> None:
    """Send everybody who subscribed what is new and near to what they asked for: once a day or week, never twice.

    Exit code 1 where something was put off until the next run.

    Example:
      dipole digest papers --dry-run mails
      dipole digest papers --every daily
      dipole digest papers --subscribe ada@example.org --query "queues of negatives" --every weekly
    """
    from dipole.core.errors import UsageError
    from dipole.digest import arrivals
    from dipole.digest.address import normalised, same
    from dipole.digest.dry import rehearse, sample
    from dipole.digest.office import STATE, Office
    from dipole.digest.source import Source
    from dipole.digest.store import Store
    from dipole.modality.text.load import load_encoder

    if sum(map(bool, (dry_run, subscribe, forget, show))) > 1:
        raise UsageError("--dry-run, --subscribe, --forget and --list are different things to do; give one of them")
    if every not in ("", "daily", "weekly"):
        raise UsageError(f"--every is daily or weekly, got {every!r}")
    if (query or collection) and not (subscribe or dry_run):
        raise UsageError("--query and --collection go with --subscribe or --dry-run")
    if confirmed and not subscribe:
        raise UsageError("--confirmed goes with --subscribe")
    kept = state or folder / STATE
    source = Source.open(folder, load_encoder, lambda name: _votes(kept, name or folder.resolve().name))
    name = source.chosen(collection) if subscribe or collection else ""
    day = date.date() if date else datetime.datetime.now(datetime.UTC).date()
    moment = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    moment = datetime.datetime.combine(day, datetime.time(6), datetime.UTC) if date else moment
    if dry_run:
        if query or collection:
            done = sample(kept, dry_run, source, day, moment, query, collection, config)
        else:
            done = rehearse(kept, dry_run, source, day, moment, every, config)
        for path in done.files:
            typer.echo(str(path))
        for note in done.notes:
            typer.echo(note, err=True)
        return
    if show or forget:
        store = Store(kept)
        for one in store.subscriptions() if show else ():
            typer.echo(f"{one.address}  {one.every}  {one.state}  {one.collection + ': ' if one.collection else ''}{one.topic}")
        if forget:
            typer.echo(f"{folder}: {store.forget(same(normalised(forget)))} subscriptions deleted, with all that was kept about them")
        return
    office = Office.open(folder, config, state=kept)
    if subscribe:
        if confirmed:
            made = office.desk.admit(
                subscribe, query, every or "daily", name, lambda name: arrivals.look(office.store, name, source.collections[name])
            )
            typer.echo(f"{folder}: {made.address} gets {made.topic}, {made.every}")
            return
        office.desk.ask(subscribe, query, every or "daily", name)
        left = office.flush()
        whom = "" if office.settings.sends else " for an SMTP server"
        typer.echo(f"{folder}: asked; {left.sent} confirmations sent, {left.waiting} wait{whom}")
        if left.trouble:
            typer.echo(left.trouble, err=True)
            raise typer.Exit(1)
        return
    _send(office, source, day, moment, every, json)


def _send(office: Office, source: Source, day: datetime.date, moment: datetime.datetime, every: str, json: Path | None) -> None:
    from dipole.core.errors import UsageError
    from dipole.core.extras import need
    from dipole.digest.run import run as send
    from dipole.digest.settings import FILE
    from dipole.evaluate.report import write_json

    if not office.settings.sends:
        where = f"write {office.store.folder / FILE} (docs/digest.md has an example) or set DIPOLE_SMTP_HOST"
        raise UsageError(f"no SMTP server is known; {where}, or see what would be sent with --dry-run OUT")
    bar = need("tqdm", "train", "a progress bar").tqdm(desc="digest", unit="subscriber", disable=None)

    def told(done: int, of: int) -> None:
        bar.total = of
        bar.update(done - bar.n)

    report = send(office.store, source, office.links, office.settings, day, every, moment, told=told)
    bar.close()
    if json is not None:
        write_json(json, report.json())
    typer.echo(report.text)
    for problem in report.problems:
        typer.echo(problem, err=True)
    if report.failed:
        raise typer.Exit(1)


def _votes(kept: Path, name: str) -> dict[str, int]:
    """Votes given on the served page, which count beside the collection's own."""
    from dipole.serve.state import State

    return State(kept).votes(name) if (kept / "page.sqlite").exists() else {}
