"""The API's OpenAPI 3.1 document, made from the models that requests and answers are made of."""

from typing import Any

from pydantic.json_schema import models_json_schema

from service import __version__
from service.admin.asked import Asked, Given
from service.admin.documents import (
    Document,
    OrderDone,
    ProblemDetails,
    RecordingLife,
    RecordingList,
    Summary,
)

_REFERENCE = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    """The document, as JSON is made of."""
    answers: list[type[Document]] = [Summary, RecordingList, RecordingLife, OrderDone, ProblemDetails]
    _, schemas = models_json_schema(
        [*((answer, "serialization") for answer in answers), (Given, "validation")],
        ref_template=_REFERENCE,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dyte-archiver",
            "version": __version__,
            "description": "What is archived, what waits and what fails, of all processes on one ledger. "
            "Moments (`_at`) are RFC 3339 in UTC, spans are in seconds, sizes in bytes.",
        },
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": {
            "/overview": {"get": _operation("What there is at this moment", Summary, problems=(422,))},
            "/recordings": {
                "get": _operation(
                    "Recordings and sessions, searched, filtered and sorted",
                    RecordingList,
                    parameters=_parameters(),
                    problems=(422,),
                )
            },
            "/recordings/{id}": {
                "get": _operation(
                    "All of one recording or session",
                    RecordingLife,
                    parameters=[
                        {
                            "name": "id",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "string", "minLength": 1},
                        }
                    ],
                    problems=(404, 422),
                )
            },
            "/orders": {
                "post": _operation(
                    "Retry, renew a link, pause, resume, cancel, verify; kept in the audit trail",
                    OrderDone,
                    body=Given.__name__,
                    problems=(400, 403, 404, 409, 413, 415, 422),
                )
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    summary: str,
    answer: type[Document],
    *,
    parameters: list[dict[str, Any]] | None = None,
    body: str | None = None,
    problems: tuple[int, ...] = (),
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": _schema(ProblemDetails.__name__)}}
    told = {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {
            "200": {
                "description": (answer.__doc__ or "").partition("\n")[0],
                "content": {"application/json": {"schema": _schema(answer.__name__)}},
            },
            **{
                str(status): {"description": "A problem", "content": problem}
                for status in sorted({401, 503, *problems})
            },
        },
    }
    if body is not None:
        content = {"application/json": {"schema": _schema(body)}}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _parameters() -> list[dict[str, Any]]:
    asked = Asked.model_json_schema(ref_template=_REFERENCE)
    known = asked.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "description": field.get("description", ""),
            "schema": _plain(field, known),
        }
        for name, field in asked["properties"].items()
    ]


def _plain(field: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema: what it may be if it is given."""
    if "anyOf" in field:
        (field,) = (each for each in field["anyOf"] if each.get("type") != "null")
    if "$ref" in field:
        field = known[field["$ref"].rpartition("/")[2]]
    return {name: value for name, value in field.items() if name not in ("title", "default", "description")}


def _schema(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=name)}
