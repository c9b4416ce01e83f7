"""One run over all subscriptions: what is due, what is new and near, composed and sent, each step in the ledger."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError, DipoleError
from dipole.digest import arrivals, ledger, spool
from dipole.digest import store as stored
from dipole.digest.compose import Digest, digest_message
from dipole.digest.delivery import Delivery
from dipole.digest.links import Links
from dipole.digest.near import Found, near_new
from dipole.digest.settings import MailSettings
from dipole.digest.signup import Signup
from dipole.digest.smtp import Mailer
from dipole.digest.store import DAILY, Store, Subscription
from dipole.search import manifest
from dipole.search.collection import Collection
from dipole.search.documents import Document, Embedder
from dipole.search.encode import same_model

_FAULTS = (DipoleError, OSError, RuntimeError, ValueError)  # of one collection: LanceDB raises any of these for files that are gone


@dataclass
class Report:
    """What a run did: numbers of subscriptions, and what went wrong, in words."""

    day: str
    subscriptions: int = 0
    due: int = 0
    empty: int = 0
    sent: int = 0
    deferred: int = 0
    refused: int = 0
    suspended: int = 0
    unknown: int = 0
    withdrawn: int = 0
    confirmations_sent: int = 0
    confirmations_waiting: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether something is left for another run, or for somebody to look into."""
        return bool(self.deferred or self.problems)

    @property
    def text(self) -> str:
        """One line for people."""
        counts = {
            **{"sent": self.sent, "with nothing new": self.empty, "put off": self.deferred, "refused": self.refused},
            **{"suspended": self.suspended, "of unknown fate": self.unknown, "withdrawn": self.withdrawn},
            **{"confirmations sent": self.confirmations_sent, "confirmations waiting": self.confirmations_waiting},
        }
        said = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing to do"
        return f"{self.day}: {self.subscriptions} subscriptions, {self.due} due; {said}"

    def json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """Where digests come from: collections by name, as they are at one moment; a way to a model by its name; and the votes given
    since a collection was written. ``broken``: why a collection that is there cannot be opened, by name.
    """

    collections: Mapping[str, Collection]
    load: Callable[[str], Embedder]
    votes: Callable[[str], dict[str, int]] = lambda name: {}
    broken: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def open(folder: Path, load: Callable[[str], Embedder], votes: Callable[[str], dict[str, int]] = lambda name: {}) -> Source:
        """One collection, whose name is empty, or all collections in a folder by their names.

        Raises UsageError where there is none, and DataError where the only one is damaged.
        """
        several = {} if manifest.exists(folder) else manifest.within(folder)
        opened: dict[str, Collection] = {}
        broken: dict[str, str] = {}
        for name, place in (several or {"": folder}).items():
            try:
                opened[name] = Collection.open(place)
            except DataError as error:
                broken[name] = str(error)
                if len(broken) == max(1, len(several)):
                    raise
        return Source(opened, load, votes, broken)

    def fault(self, name: str, error: object = None) -> str:
        """Why its subscribers get nothing, in words."""
        which = f"collection {name!r}" if name else "the collection"
        why = error or self.broken.get(name)
        return f"{which} {f'cannot be read: {why}' if why else 'is gone'}; its subscribers wait"


def digests(
    store: Store, source: Source, wanted: list[Subscription], day: datetime.date, settings: MailSettings, problems: list[str]
) -> Iterator[tuple[Subscription, Digest | None]]:
    """For each subscription its digest, None where nothing is new and near. Reads only.

    Those of a collection that cannot be read are left out, and ``problems`` says why; the others do not suffer for it.
    """
    for name in dict.fromkeys(s.collection for s in wanted):
        if name not in source.collections:
            problems.append(source.fault(name))
            continue
        try:
            yield from _of_collection(store, source, name, [s for s in wanted if s.collection == name], day, settings)
        except _FAULTS as error:
            problems.append(source.fault(name, error))


def _of_collection(
    store: Store, source: Source, name: str, wanted: list[Subscription], day: datetime.date, settings: MailSettings
) -> Iterator[tuple[Subscription, Digest | None]]:
    collection, by_query = source.collections[name], [s for s in wanted if s.query]
    near = _near(store, source, name, collection, by_query, settings.share) if by_query else []
    found = {s.id: one for s, one in zip(by_query, near, strict=True)}
    votes = {} if len(by_query) == len(wanted) else source.votes(name)
    top = [] if len(by_query) == len(wanted) else collection.browse("trending", settings.trending, today=day, more_votes=votes)
    for s in wanted:
        if s.query:
            yield s, _of_query(collection, s, found[s.id], day, settings)
        else:
            yield s, _trending(top, s, ledger.told(store, s.id), votes, day)


def preview(source: Source, name: str, query: str, day: datetime.date, settings: MailSettings) -> Digest | None:
    """What a new subscriber would get if what is nearest to the query, or trending, were new."""
    collection = source.collections[name]
    nobody = Subscription("preview", "you@example.invalid", name, query, DAILY, stored.ACTIVE, 0.0, None, 0, 0)
    if not query:
        votes = source.votes(name)
        return _trending(collection.browse("trending", settings.trending, today=day, more_votes=votes), nobody, set(), votes, day)
    if not len(collection):
        return None
    model = source.load(collection.model)
    best = [hit.id for hit in collection.search([query], model, settings.limit)[0]]
    [found] = near_new(collection, model.encode([query], side="queries"), [set(best)], settings.share)
    return _of_query(collection, nobody, found, day, settings)


def run(
    store: Store,
    source: Source,
    links: Links,
    settings: MailSettings,
    day: datetime.date,
    every: str = "",
    moment: datetime.datetime | None = None,
    mailer: Mailer | None = None,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Send what is due on ``day``: once, whatever else runs or ran. ``every``: only the daily or weekly ones.

    Raises BusyError where another process does so, TransportError where the mail server takes nothing from us.
    """
    report = Report(day.isoformat())
    sent_at = moment or datetime.datetime.fromtimestamp(round(stored.now()), datetime.UTC)
    with ExitStack() as stack:
        stack.enter_context(ledger.only_one(store.folder))
        mailer = mailer or stack.enter_context(Mailer(settings))
        died = ledger.settle(store)
        if died:
            report.problems.append(f"{died} left by a run that died in the middle of sending; they may have arrived and are not sent again")
        Signup(store, links).clear()
        report.confirmations_sent, report.confirmations_waiting = spool.flush(store, settings, links, mailer)
        looks: dict[str, int] = {}
        readable: dict[str, Collection] = {}
        broken = dict(source.broken)
        for name, collection in source.collections.items():
            try:
                looks[name], readable[name] = arrivals.look(store, name, collection), collection
            except _FAULTS as error:
                broken[name] = str(error)
        source = replace(source, collections=readable, broken=broken)
        wanted = ledger.due(store, every, day)
        report.subscriptions, report.due = len(store.subscriptions(stored.ACTIVE)), len(wanted)
        delivery = Delivery(store, mailer, looks)
        for done, (subscription, digest) in enumerate(digests(store, source, wanted, day, settings, report.problems), 1):
            if digest is not None:
                delivery.send(digest, digest_message(digest, settings, links, sent_at))
            else:
                ledger.considered(store, subscription.id, looks[subscription.collection])
                report.empty += 1
            if delivery.trouble:
                report.problems.append(f"{delivery.trouble}; {len(wanted) - done} more wait for the next run")
                break
            told(done, len(wanted))
        delivery.finish()
        for name, count in delivery.counts.items():
            setattr(report, name, count)
    return report


def _near(store: Store, source: Source, name: str, collection: Collection, wanted: list[Subscription], share: float) -> list[Found]:
    new = {look: arrivals.fresh(store, name, collection, look) for look in {s.look for s in wanted}}
    if not any(new.values()):
        return [Found([], float("inf"), len(collection), share)] * len(wanted)
    model = source.load(collection.model)
    same_model(collection.manifest, model)
    queries = list(dict.fromkeys(s.query for s in wanted))
    vectors = dict(zip(queries, model.encode(queries, side="queries"), strict=True))
    return near_new(collection, torch.stack([vectors[s.query] for s in wanted]), [new[s.look] for s in wanted], share)


def _of_query(
    collection: Collection, subscription: Subscription, found: Found, day: datetime.date, settings: MailSettings
) -> Digest | None:
    shown = found.near[: settings.limit]
    documents = collection.get([one.id for one in shown])
    if not documents:
        return None
    why = [f"nearer to your query than {_percent(1 - one.beyond)} of earlier documents" if found.background else "new" for one in shown]
    share = _percent(found.share)
    note = (
        f"A new document is near when it is nearer to your query than all but {share} of the {found.background:,} that were there "
        f"before, so at most about {share} of unrelated ones pass."
    )
    period = ledger.period(subscription.every, day)
    return Digest(subscription, period, day, documents, why, len(found.near) - len(shown), note if found.background else "")


def _trending(top: list[Document], subscription: Subscription, told: set[str], votes: dict[str, int], day: datetime.date) -> Digest | None:
    """What has come into the top of the trending list since this subscriber's last digest: of the top, what was not told yet."""
    documents = [d for d in top if d.id not in told]
    if not documents:
        return None
    counted = [d.votes + votes.get(d.id, 0) for d in documents]
    why = [f"{n} {'vote' if n == 1 else 'votes'}" if n > 0 else "" for n in counted]
    return Digest(subscription, ledger.period(subscription.every, day), day, documents, why)


def _percent(share: float) -> str:
    """
    >>> _percent(0.99921), _percent(0.01), _percent(1 - 1e-9)
    ('99.92%', '1%', '99.99%')
    """
    return f"{min(100 * share, 99.99):.2f}".rstrip("0").rstrip(".") + "%"
