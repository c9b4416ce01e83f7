"""What Prometheus reads: requests and their times, what is served, what the model did; and the last catch of failures."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from dipole.core.extras import need
from dipole.digest import spool
from dipole.digest.postman import Postman
from dipole.digest.store import ACTIVE, PENDING, SUSPENDED
from dipole.serve.guard.refusal import ASGIApp, Message, Receive, Scope, Send, refuse
from dipole.serve.shelf import Shelf

router = APIRouter(tags=["server"])
log = logging.getLogger("dipole.serve")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one application, in a registry of its own."""

    def __init__(self, shelf: Shelf) -> None:
        client = need("prometheus_client", "serve", "metrics")
        self.registry = client.CollectorRegistry()
        labels = ["method", "route", "status"]
        self.requests = client.Counter("dipole_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = client.Histogram(
            "dipole_request_seconds",
            "From the request's headers to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.now = client.Gauge("dipole_requests_in_progress", "Requests being answered.", registry=self.registry)
        client.ProcessCollector(registry=self.registry)
        self.registry.register(_Shelved(shelf))

    def count_mail(self, postman: Postman) -> None:
        """Count what this process does with mail: it asks people to confirm. Digests are sent by another one."""
        self.registry.register(_Mailed(postman))

    def text(self) -> tuple[bytes, str]:
        """All of them, and their media type."""
        client = need("prometheus_client", "serve", "metrics")
        return client.generate_latest(self.registry), client.CONTENT_TYPE_LATEST


class Observed:
    """Counts and times every request. Whatever failed inside is logged with its trace, and answered without it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 0, time.perf_counter()

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.now.inc()
        try:
            await self.app(scope, receive, told)
        except Exception:
            log.exception("%s failed", scope["path"])
            if status:
                raise
            await refuse(scope, receive, told, 500, "the server failed at this request; its log says why")
        finally:
            self.metrics.now.dec()
            route = getattr(scope.get("route"), "path", "")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - start)


class _Shelved:
    """What is served, read when somebody asks."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def collect(self) -> Iterator[Any]:
        core = need("prometheus_client.core", "serve", "metrics")
        rows = core.GaugeMetricFamily("dipole_collection_rows", "Documents served.", labels=["collection"])
        commits = core.GaugeMetricFamily("dipole_collection_commit", "The commit served.", labels=["collection"])
        refused = core.GaugeMetricFamily("dipole_commit_refused", "1 where the newest commit is not served.", labels=["collection"])
        for held in self.shelf.all():
            rows.add_metric([held.name], len(held.collection))
            commits.add_metric([held.name], held.collection.manifest.number)
            refused.add_metric([held.name], held.name in self.shelf.refused)
        yield from (rows, commits, refused)
        yield core.CounterMetricFamily("dipole_reloads", "Commits taken up while running.", self.shelf.reloads)
        counts = self.shelf.encoded
        yield core.CounterMetricFamily("dipole_encoder_batches", "Batches of texts encoded.", counts["batches"])
        yield core.CounterMetricFamily("dipole_encoder_cache_hits", "Texts whose vectors were remembered.", counts["hits"])
        yield core.CounterMetricFamily("dipole_encoder_cache_misses", "Texts that had to be encoded.", counts["misses"])


class _Mailed:
    """Sign-ups and the mails that ask to confirm them, read when somebody asks."""

    def __init__(self, postman: Postman) -> None:
        self.postman = postman

    def collect(self) -> Iterator[Any]:
        core = need("prometheus_client.core", "serve", "metrics")
        store = self.postman.office.store
        yield core.CounterMetricFamily("dipole_confirmations_sent", "Mails asking to confirm that the mail server took.", self.postman.sent)
        yield core.CounterMetricFamily("dipole_confirmation_failures", "Rounds of sending that were cut short.", self.postman.failures)
        yield core.GaugeMetricFamily("dipole_confirmations_waiting", "Mails asking to confirm that wait.", len(spool.waiting(store)))
        subscriptions = core.GaugeMetricFamily("dipole_subscriptions", "Subscriptions by their state.", labels=["state"])
        counts = store.counts()
        for state in (PENDING, ACTIVE, SUSPENDED):
            subscriptions.add_metric([state], counts.get(state, 0))
        yield subscriptions


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """The text format."""
    content, media = request.app.state.metrics.text()
    return Response(content, media_type=media, headers={"Cache-Control": "no-store"})
