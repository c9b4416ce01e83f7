"""What would be sent, as .eml files, while nothing is sent, written down or made."""

from __future__ import annotations

import datetime
import re
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from dipole.core.files import written_whole
from dipole.digest import ledger, run, settings
from dipole.digest.address import cleaned
from dipole.digest.compose import WIRE, Digest, digest_message
from dipole.digest.links import Links, secret
from dipole.digest.settings import MailSettings
from dipole.digest.source import Source
from dipole.digest.store import ACTIVE, Store

_NOBODY = "dipole <dipole@example.invalid>"
_HERE = "http://127.0.0.1:8000"  # where dipole serve listens unless told otherwise


@dataclass
class Rehearsal:
    """The files written, and what is worth knowing about them."""

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def rehearse(
    state: Path, out: Path, source: Source, day: datetime.date, moment: datetime.datetime, every: str = "", config: Path | None = None
) -> Rehearsal:
    """Write the digests that a run of what ``state`` keeps would send now. Where nobody has subscribed, one that shows what is trending."""
    known, done = _known(state, config), Rehearsal()
    store = Store(state) if (state / "digest.sqlite").exists() else None
    if store is None or not store.subscriptions(ACTIVE):
        done.notes.append("nobody has a confirmed subscription; this is what one to trending would get")
        made = [run.preview(source, source.chosen(), "", day, known)]
    else:
        made = [d for _, d in run.digests(store, source, ledger.due(store, every, day), day, known, done.notes)]
    return _written(state, out, made, moment, config, done)


def sample(
    state: Path,
    out: Path,
    source: Source,
    day: datetime.date,
    moment: datetime.datetime,
    query: str,
    name: str = "",
    config: Path | None = None,
) -> Rehearsal:
    """Write what a subscriber to ``query``, or to trending where it is empty, would get if what the collection ``name`` has were new."""
    made = run.preview(source, source.chosen(name), cleaned(query) if query else "", day, _known(state, config))
    return _written(state, out, [made], moment, config, Rehearsal())


def _known(state: Path, config: Path | None) -> MailSettings:
    known = settings.read(state, config)
    return replace(known, sender=known.sender or _NOBODY, base_url=known.base_url or _HERE)


def _written(
    state: Path, out: Path, digests: list[Digest | None], moment: datetime.datetime, config: Path | None, done: Rehearsal
) -> Rehearsal:
    known, keyed = _known(state, config), (state / "digest.key").exists()
    links = Links(secret(state) if keyed else secrets.token_bytes(32), known.base_url)
    out.mkdir(parents=True, exist_ok=True)
    for digest in digests:
        if digest is None:
            continue
        message = digest_message(digest, known, links, moment)
        whom = re.sub(r"[^\w.@+-]", "_", digest.subscription.address)
        path = out / f"{digest.period}-{whom}-{digest.subscription.id[:8]}.eml"
        with written_whole(path) as temporary:
            temporary.write_bytes(message.as_bytes(policy=WIRE))
        done.files.append(path)
    if not done.files:
        done.notes.append("nothing is due, or nothing is new and near: no mail would be sent")
    return done
