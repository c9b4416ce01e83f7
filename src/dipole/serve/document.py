"""The OpenAPI document: what FastAPI knows of the routes, and what the guards before all of them answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from dipole.serve.guard.refusal import MEDIA


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="The rule that was broken, and what to do.")
    errors: list[dict[str, str]] = Field(default=[], description="Of an invalid request: each place and its rule.")


_ANYWHERE = {
    "401": "The API key is missing or wrong.",
    "414": "The address is too long.",
    "421": "The Host header names another server.",
    "422": "A parameter is not what it must be.",
    "429": "Too many requests; Retry-After says how many seconds to wait.",
    "503": "Not ready, busy, or too slow; Retry-After says how many seconds to wait.",
}
_WITH_BODY = {
    "400": "The body is not what its type says.",
    "403": "A page of another site asked.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
}
_KEYS = {"key": {"type": "http", "scheme": "bearer"}, "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}


def describe(app: FastAPI) -> None:
    """Make the application's OpenAPI document complete."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            schemas = document["components"]["schemas"]
            schemas["Problem"] = Problem.model_json_schema()
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            document["components"]["securitySchemes"] = _KEYS
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    _complete(path, operation)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(path: str, operation: dict[str, Any]) -> None:
    said = dict(_ANYWHERE) | (_WITH_BODY if "requestBody" in operation else {})
    if "{id}" in path or path == "/similar":
        said["404"] = "There is no such document, or no such collection."
    elif any(one["name"] == "collection" for one in operation.get("parameters", ())):
        said["404"] = "There is no such collection."
    answers = operation["responses"]
    for status, description in said.items():
        if status not in answers or status == "422":
            answers[status] = {"description": description, "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    if path in ("/search", "/similar", "/similar/{id}", "/items", "/items/{id}"):
        answers["304"] = {"description": "The ETag sent as If-None-Match is still right."}
    if path != "/health":
        operation["security"] = [{}, {"key": []}, {"header": []}]
