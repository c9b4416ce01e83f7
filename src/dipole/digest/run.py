"""One run over all subscriptions: what is due, what is new and near, composed and sent, each step in the ledger."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
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
from dipole.digest.source import FAULTS, Source, which
from dipole.digest.store import DAILY, Store, Subscription
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.search.encode import same_model


class _MissingError(DipoleError):
    """What some of a collection's subscribers need, and others do not."""


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


def digests(
    store: Store, source: Source, wanted: list[Subscription], day: datetime.date, settings: MailSettings, problems: list[str]
) -> Iterator[tuple[Subscription, Digest | None]]:
    """For each subscription its digest, None where nothing is new and near. Reads only.

    Left out are those of a collection that cannot be read, those to queries where its model cannot be used, and those to what is
    trending where the votes cannot be read; ``problems`` says why, and the others do not suffer for it.
    """
    for name in dict.fromkeys(s.collection for s in wanted):
        if name not in source.collections:
            problems.append(source.fault(name))
            continue
        mine = [s for s in wanted if s.collection == name]
        try:
            for made, some in ((_of_queries, [s for s in mine if s.query]), (_of_votes, [s for s in mine if not s.query])):
                try:
                    if some:
                        yield from made(store, source, name, some, day, settings)
                except _MissingError as error:
                    problems.append(str(error))
        except FAULTS as error:
            if _is_of(store, error):
                raise
            problems.append(source.fault(name, error))


def _of_queries(
    store: Store, source: Source, name: str, wanted: list[Subscription], day: datetime.date, settings: MailSettings
) -> Iterator[tuple[Subscription, Digest | None]]:
    collection = source.collections[name]
    for s, found in zip(wanted, _near(store, source, name, wanted, settings.share), strict=True):
        yield s, _of_query(collection, s, found, day, settings)


def _of_votes(
    store: Store, source: Source, name: str, wanted: list[Subscription], day: datetime.date, settings: MailSettings
) -> Iterator[tuple[Subscription, Digest | None]]:
    with _needed("the votes for", name, "trending"):
        votes = source.votes(name)
    top = source.collections[name].browse("trending", settings.trending, today=day, more_votes=votes)
    for s in wanted:
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
        asked = spool.flush(store, settings, links, mailer)
        report.confirmations_sent, report.confirmations_waiting = asked.sent, asked.waiting
        if asked.trouble:
            report.problems.append(f"{asked.trouble}; confirmations wait for the next run")
        looks: dict[str, int] = {}
        readable: dict[str, Collection] = {}
        broken = dict(source.broken)
        for name, collection in source.collections.items():
            try:
                looks[name], readable[name] = arrivals.look(store, name, collection), collection
            except FAULTS as error:
                if _is_of(store, error):
                    raise
                broken[name] = str(error)
        source = replace(source, collections=readable, broken=broken)
        wanted = ledger.due(store, every, day)
        report.subscriptions, report.due = len(store.subscriptions(stored.ACTIVE)), len(wanted)
        delivery, left = Delivery(store, mailer, looks), 0
        for done, (subscription, digest) in enumerate(digests(store, source, wanted, day, settings, report.problems), 1):
            if digest is not None:
                delivery.send(digest, digest_message(digest, settings, links, sent_at))
            else:
                ledger.considered(store, subscription.id, looks[subscription.collection])
                report.empty += 1
            if delivery.trouble:
                left = len(wanted) - done
                break
            told(done, len(wanted))
        delivery.finish()
        if delivery.trouble:
            report.problems.append(delivery.trouble + (f"; {left} more wait for the next run" if left else ""))
        for name, count in delivery.counts.items():
            setattr(report, name, count)
    return report


@contextmanager
def _needed(what: str, name: str, topic: str) -> Iterator[None]:
    """Trouble in the block is that of ``what``, which only subscribers to ``topic`` need."""
    try:
        yield
    except FAULTS as error:
        raise _MissingError(f"{what} {which(name)} cannot be used: {error}; its subscribers to {topic} wait") from error


def _is_of(store: Store, error: Exception) -> bool:
    """Whether the trouble is with the digests' own file: then it is everybody's, not a collection's."""
    return isinstance(error, DataError) and error.path == store.path


def _near(store: Store, source: Source, name: str, wanted: list[Subscription], share: float) -> list[Found]:
    collection = source.collections[name]
    new = {look: arrivals.fresh(store, name, collection, look) for look in {s.look for s in wanted}}
    if not any(new.values()):
        return [Found([], float("inf"), len(collection), share)] * len(wanted)
    queries = list(dict.fromkeys(s.query for s in wanted))
    with _needed("the model of", name, "queries"):
        model = source.load(collection.model)
        same_model(collection.manifest, model)
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
