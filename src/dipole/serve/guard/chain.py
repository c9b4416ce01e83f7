"""The guards in their order."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from dipole.serve.guard.body import Body
from dipole.serve.guard.busy import Busy
from dipole.serve.guard.headers import Headers
from dipole.serve.guard.key import WRONG_BURST, WRONG_RATE, Key
from dipole.serve.guard.origin import Origin
from dipole.serve.guard.rate import Buckets, Rate
from dipole.serve.metrics import Metrics, Observed
from dipole.serve.settings import Settings


def guard(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Put the guards before the application: a request meets the cheapest refusals first."""
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    app.add_middleware(Busy, settings=settings)  # from here on outwards
    app.add_middleware(Body, settings=settings)
    app.state.wrong_keys = Buckets(WRONG_RATE, WRONG_BURST)  # in headers and in the form together
    app.add_middleware(Key, settings=settings, wrong=app.state.wrong_keys)
    app.add_middleware(Rate, settings=settings)
    app.add_middleware(Origin, settings=settings)
    app.add_middleware(Observed, metrics=metrics)
    app.add_middleware(Headers, settings=settings)
