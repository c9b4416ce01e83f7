"""One run over all subscriptions: what is due, what is new and near, composed and sent, each step in the ledger."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dipole.digest import arrivals, ledger, spool
from dipole.digest import store as stored
from dipole.digest.compose import Digest, digest_message
from dipole.digest.links import Links
from dipole.digest.near import Found, near_new
from dipole.digest.settings import MailSettings
from dipole.digest.signup import Signup
from dipole.digest.smtp import ACCEPTED, PERMANENT, TEMPORARY, UNKNOWN, WITHDRAWN, Answer, Mailer, TransportError
from dipole.digest.store import DAILY, Store, Subscription
from dipole.search import manifest
from dipole.search.collection import Collection
from dipole.search.documents import Embedder
from dipole.search.encode import same_model

_STATES = {ACCEPTED: ledger.SENT, PERMANENT: ledger.REFUSED, UNKNOWN: ledger.UNKNOWN}


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
    since a collection was written.
    """

    collections: Mapping[str, Collection]
    load: Callable[[str], Embedder]
    votes: Callable[[str], dict[str, int]] = lambda name: {}


def open_collections(folder: Path) -> dict[str, Collection]:
    """One collection, whose name is empty, or all collections in a folder by their names. Raises UsageError where there is none."""
    several = {} if manifest.exists(folder) else manifest.within(folder)
    return {name: Collection.open(place) for name, place in (several or {"": folder}).items()}


def digests(
    store: Store, source: Source, wanted: list[Subscription], day: datetime.date, settings: MailSettings
) -> Iterator[tuple[Subscription, Digest | None]]:
    """For each subscription its digest, None where nothing is new and near. Reads only."""
    for name in dict.fromkeys(s.collection for s in wanted):
        mine = [s for s in wanted if s.collection == name]
        collection = source.collections.get(name)
        by_query = [s for s in mine if s.query and collection is not None]
        near = _near(store, source, name, collection, by_query, settings.share) if collection is not None and by_query else []
        found = {s.id: one for s, one in zip(by_query, near, strict=True)}
        for s in mine:
            if collection is None:
                yield s, None
            elif s.query:
                yield s, _of_query(collection, s, found[s.id], day, settings)
            else:
                yield s, _trending(collection, s, ledger.told(store, s.id), source.votes(name), day, settings)


def preview(source: Source, name: str, query: str, day: datetime.date, settings: MailSettings) -> Digest | None:
    """What a new subscriber would get if what is nearest to the query, or trending, were new."""
    collection = source.collections[name]
    nobody = Subscription("preview", "you@example.invalid", name, query, DAILY, stored.ACTIVE, 0.0, None, 0, 0)
    if not query:
        return _trending(collection, nobody, set(), source.votes(name), day, settings)
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
        looks = {name: arrivals.look(store, name, collection) for name, collection in source.collections.items()}
        wanted = ledger.due(store, every, day)
        report.subscriptions, report.due = len(store.subscriptions(stored.ACTIVE)), len(wanted)
        for name in sorted({s.collection for s in wanted} - set(source.collections)):
            report.problems.append(f"collection {name!r} is gone; its subscribers wait")
        for done, (subscription, digest) in enumerate(digests(store, source, wanted, day, settings), 1):
            if digest is None:
                if subscription.collection in source.collections:
                    ledger.considered(store, subscription.id, looks[subscription.collection])
                    report.empty += 1
            elif not _sent(store, digest, looks[subscription.collection], mailer, digest_message(digest, settings, links, sent_at), report):
                report.problems.append(f"the mail server cannot be reached; {len(wanted) - done} more wait for the next run")
                break
            told(done, len(wanted))
    return report


def _sent(store: Store, digest: Digest, look: int, mailer: Mailer, message: Any, report: Report) -> bool:
    """Send one, with its lines in the ledger; False where going on to the next is of no use."""
    subscription = digest.subscription
    line = ledger.Line(subscription.id, digest.period, digest.content, [d.id for d in digest.documents], look)

    def back(answer: Answer) -> None:
        ledger.ended(store, line, ledger.DEFERRED, answer.reply)

    try:
        answer = mailer.send(message, subscription.address, lambda: ledger.leaves(store, line), back)
    except TransportError as error:
        raise TransportError(f"{error} ({report.sent} sent before)") from None
    if answer.outcome == WITHDRAWN:
        report.withdrawn += 1
        return True
    if answer.outcome == TEMPORARY:
        report.deferred += 1
        return answer.reached
    state = _STATES[answer.outcome]
    report.suspended += ledger.ended(store, line, state, answer.reply, blame=not answer.policy)
    setattr(report, state, getattr(report, state) + 1)
    return True


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


def _trending(
    collection: Collection, subscription: Subscription, told: set[str], votes: dict[str, int], day: datetime.date, settings: MailSettings
) -> Digest | None:
    """What has come into the top of the trending list since this subscriber's last digest: of the top, what was not told yet."""
    top = collection.browse("trending", settings.trending, today=day, more_votes=votes)
    documents = [d for d in top if d.id not in told]
    if not documents:
        return None
    counted = [d.votes + votes.get(d.id, 0) for d in documents]
    why = [f"{n} {'vote' if n == 1 else 'votes'}" for n in counted]
    return Digest(subscription, ledger.period(subscription.every, day), day, documents, why)


def _percent(share: float) -> str:
    """
    >>> _percent(0.99921), _percent(0.01), _percent(1 - 1e-9)
    ('99.92%', '1%', '99.99%')
    """
    return f"{min(100 * share, 99.99):.2f}".rstrip("0").rstrip(".") + "%"
