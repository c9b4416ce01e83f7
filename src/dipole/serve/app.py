"""The server put together: the shelf, the routers, the guards before them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from dipole import __version__
from dipole.search.documents import Embedder
from dipole.serve import metrics, subscribe
from dipole.serve.api import collections, encode, health, items, search
from dipole.serve.document import describe
from dipole.serve.guard import login
from dipole.serve.guard.chain import guard
from dipole.serve.page import routes as page
from dipole.serve.problems import handle_problems
from dipole.serve.settings import Settings
from dipole.serve.shelf import Shelf


def create_app(settings: Settings, load: Callable[[str], Embedder] | None = None, failed: Callable[[], None] = lambda: None) -> FastAPI:
    """The ASGI application. Routes find ``request.app.state.settings`` and ``.shelf``.

    ``load`` makes a model from the name a collection gives; by default the library's own models. ``failed`` is called where
    a collection turns out to be impossible to serve; ``app.state.shelf.failure`` says why. Raises UsageError where the
    folder holds no collection.
    """
    if load is None:
        from dipole.modality.text.load import load_encoder

        load = load_encoder
    shelf = Shelf(settings.folder, load, settings.model)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        shelf.start(settings.reload_seconds, failed)
        yield
        app.state.postman.close()
        shelf.close()

    about = "Collections of texts, searched by meaning, by words, or by both."
    app = FastAPI(
        title="dipole",
        version=__version__,
        description=about,
        lifespan=lifespan,
        docs_url=None,  # its pages run scripts of other sites
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings, app.state.shelf, app.state.metrics = settings, shelf, metrics.Metrics(shelf)
    for module in (search, items, collections, encode, health, metrics, login):
        app.include_router(module.router)
    page.install(app, settings)
    subscribe.install(app, settings)
    handle_problems(app)
    describe(app)
    guard(app, settings, app.state.metrics)
    return app
