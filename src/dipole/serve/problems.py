"""Errors as problem documents (RFC 9457): what was wrong and what to do, never a trace or a path of the server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from dipole.core.errors import DipoleError, UnknownNameError, UsageError
from dipole.serve.api.asked import NotModifiedError
from dipole.serve.guard.refusal import problem
from dipole.serve.page.errors import error_page, wants_page
from dipole.serve.shelf import NotReadyError, without_paths

log = logging.getLogger("dipole.serve")


def answer(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The problem as a page where a person asked for one, else as a document."""
    if wants_page(request):
        page = error_page(request, status, detail)
        page.headers.update({"Cache-Control": "no-store", **(headers or {})})
        return page
    return problem(status, detail, headers, **more)


def handle_problems(app: FastAPI) -> None:
    """Answer every error of the application's routes: to programs with a problem document, to people with a page."""

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        found = [{"in": ".".join(map(str, one["loc"])), "rule": one["msg"]} for one in error.errors()]
        first = f"{found[0]['in']}: {found[0]['rule']}" if found else "the request is not valid"
        if found and wants_page(request):
            name, rule = found[0]["in"].rpartition(".")[2], found[0]["rule"].replace("Input should", "must")
            first = f"“{name}” in this address {rule}." if rule.startswith("must") else f"“{name}” in this address: {rule}."
        return answer(request, 422, first, errors=found)

    @app.exception_handler(UnknownNameError)
    def unknown(request: Request, error: UnknownNameError) -> Response:
        return answer(request, 404, str(error))

    @app.exception_handler(NotModifiedError)
    def known(request: Request, error: NotModifiedError) -> Response:
        return Response(status_code=304, headers={"ETag": error.tag, "Cache-Control": "private, no-cache"})

    @app.exception_handler(UsageError)
    def wrong(request: Request, error: UsageError) -> Response:
        return answer(request, 400, without_paths(str(error), request.app.state.settings.folder))

    @app.exception_handler(DipoleError)
    def failed(request: Request, error: DipoleError) -> Response:
        log.error("%s failed", request.url.path, exc_info=error)
        return answer(request, 500, "the server could not do this; its log says why")

    @app.exception_handler(NotReadyError)
    def not_ready(request: Request, error: NotReadyError) -> Response:
        return answer(request, 503, str(error), {"Retry-After": "2"})
