"""The OpenAPI document: the table of operations in the form that other programs read."""

from __future__ import annotations

import inspect
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from oms._version import __version__
from oms.api.operations import OPERATIONS, Operation
from oms.core.models import model_of
from oms.report.json_view import SCHEMA

_REFS: Final = "#/components/schemas/{model}"
#: What every refusal says, by status.
REFUSALS: Final = {
    400: "The request is no request: the message names the field, the reason and the way out.",
    401: "No token, or one that is not known.",
    403: "The token's right does not reach so far.",
    404: "There is no such order, contract or address.",
    409: "A rule of ours, or IB, refused it.",
    413: "The body is too large.",
    429: "Too many requests within a minute.",
    503: "The log cannot be written, or the line to IB is down; the message says which.",
    504: "Nobody answered in time: the outcome is not known. Ask for the order; never send again.",
}


def document() -> dict[str, Any]:
    """Return the whole document."""
    models = [model_of(one.body) for one in OPERATIONS if one.body is not None]
    _, schemas = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template=_REFS
    )
    defined: dict[str, Any] = schemas.get("$defs", {})
    defined["Refusal"] = {
        "type": "object",
        "required": ["schema", "kind", "error", "message", "hint"],
        "properties": {
            "schema": {"const": SCHEMA},
            "kind": {"const": "error"},
            "error": {"type": "string", "description": "The name of the error's class."},
            "message": {"type": "string"},
            "hint": {"type": "string", "description": "What to do next."},
        },
    }
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ib-oms",
            "version": __version__,
            "description": "Orders, fills and news of a running daemon. Money and quantities are"
            " text, times ISO 8601 in UTC; docs/reference/json-output.md describes each record.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": defined,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(one: Operation) -> dict[str, Any]:
    parameters = [_parameter(word, "query") for word in one.words]
    if "{name}" in one.path:
        parameters.insert(0, _parameter("name", "path"))
    refusal = {"application/json": {"schema": {"$ref": _REFS.format(model="Refusal")}}}
    made: dict[str, Any] = {
        "operationId": one.name,
        "summary": inspect.getdoc(one.answer),
        "description": f"Needs the right `{one.right}`.",
        "parameters": parameters,
        "responses": {
            "200": {
                "description": f"The answer, of the kind `{one.kind}`.",
                "content": {"application/json": {"schema": _answer(one.kind)}},
            },
            **{
                str(status): {"description": words, "content": refusal}
                for status, words in REFUSALS.items()
            },
        },
    }
    if one.body is not None:
        reference = {"$ref": _REFS.format(model=one.body.__name__)}
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference}},
        }
    return made


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": {"type": "string"},
    }


def _answer(kind: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["schema", "kind"],
        "properties": {"schema": {"const": SCHEMA}, "kind": {"const": kind}},
    }
