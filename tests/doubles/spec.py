"""The provider's REST specification, to check exchanges against; it is looked for beside the repository.

It is OpenAPI 3.0 and refers to itself without end, so its references are followed as they are met. Where it
is wrong, or behind what the providers do, `EXCEPTIONS` says so with the reason.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

__all__ = ["EXCEPTIONS", "SPEC_FILE", "Spec"]

SPEC_FILE = Path(__file__).resolve().parents[3] / "shared/dyte/openapi-v2.yaml"
SUCCESS = range(200, 300)


@dataclass(frozen=True)
class Deviation:
    """What does not fit the specification and is right: patterns of `METHOD /path`, of where, and of what."""

    operation: str
    place: str
    fault: str
    reason: str
    provider: str | None = None


EXCEPTIONS = (
    Deviation(
        r"(GET|POST|PUT) /recordings.*",
        r"answer\.data(\[\d+\])?\.download_url",
        r"\[.*\] is not of type 'string'",
        "a track recording has a list of layers there (the track recording guide)",
    ),
    Deviation(
        r"(GET|POST|PUT) /recordings.*",
        r"answer\.data(\[\d+\])?\.type",
        "undocumented",
        "a track recording says that it is one (the track recording guide)",
    ),
    Deviation(
        r"(GET|POST|PUT) /recordings.*",
        r"answer\.data(\[\d+\])?\.file_size",
        r"'\d+' is not of type 'number'",
        "RealtimeKit gives sizes as texts",
        provider="realtimekit",
    ),
    Deviation(
        r".*",
        r".*\.storage_config(\.type|\.account_id)",
        r"'cloudflare' is not one of .*|undocumented",
        "R2 came after the specification (the guide to custom cloud storage)",
    ),
    Deviation(
        r"GET /recordings",
        r"query\.status\[\d+\]",
        r"'(PAUSED|ERRORED)' is not one of .*",
        "recordings have these statuses too, as the answers of the same specification say",
    ),
    Deviation(
        r"GET /sessions",
        r"answer\.paging",
        "undocumented",
        "the pages that can be asked for are told as in all other lists",
    ),
    Deviation(
        r"POST /recordings",
        r"body\.realtimekit_bucket_config",
        "undocumented",
        "what Dyte calls dyte_bucket_config (the guide to RealtimeKit's bucket)",
        provider="realtimekit",
    ),
    Deviation(
        r"POST /recordings/track",
        r"body(\.user_ids)?|body\.max_seconds",
        r"undocumented|'layers' is a required property|\d+ is not of type 'string'",
        "RealtimeKit takes users in place of layers (its changelog of 2026-05-28), and seconds are a number",
    ),
)
"""Beside these: formats of ids are not looked at, since ids are opaque and tests give them names; and what is
not documented as an answer is in the specification's `GenericErrorResponse`, or in Cloudflare's envelope."""


class Spec:
    """The operations of the API: what may be asked and answered."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        jsonschema = import_module("jsonschema")
        self.document = document

        def reference(validator: Any, name: str, instance: Any, schema: Any) -> Iterator[Any]:
            yield from validator.descend(instance, self._resolved({"$ref": name}))

        def kind(validator: Any, name: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
            if instance is not None or not schema.get("nullable"):
                yield from jsonschema.Draft4Validator.VALIDATORS["type"](validator, name, instance, schema)

        formats = jsonschema.FormatChecker(formats=())
        formats.checks("date-time")(lambda text: not isinstance(text, str) or _is_moment(text))
        formats.checks("uri")(lambda text: not isinstance(text, str) or bool(_URI.match(text)))
        validator = jsonschema.validators.extend(
            jsonschema.Draft4Validator, {"$ref": reference, "type": kind}
        )
        self._validator: Callable[[Any], Any] = lambda schema: validator(schema, format_checker=formats)

    @classmethod
    @cache
    def load(cls) -> Self | None:
        """The specification; None where it is not there, or what it takes to read it is not."""
        if not SPEC_FILE.is_file() or not all(find_spec(name) for name in ("jsonschema", "yaml")):
            return None
        yaml = import_module("yaml")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return cls(yaml.load(SPEC_FILE.read_text("utf-8"), Loader=loader))

    def check_request(
        self, method: str, path: str, query: Mapping[str, str], json: Any, *, provider: str = "dyte"
    ) -> None:
        """Fail unless it is documented: the operation, each parameter, the body and each field of it."""
        operation = self._operation(method, path)
        faults: list[tuple[str, str]] = []
        known = {each["name"]: each["schema"] for each in operation.parameters if each["in"] == "query"}
        for name, text in query.items():
            if name not in known:
                faults.append((f"query.{name}", "undocumented"))
            else:
                faults += self._faults(known[name], _parsed(known[name], text), f"query.{name}")
        body = self._resolved(operation.document.get("requestBody", {}))
        if body:
            faults += self._faults(body["content"]["application/json"]["schema"], json, "body")
        elif json is not None:
            faults.append(("body", "undocumented"))
        _fail_with(faults, operation, provider)

    def check_answer(self, method: str, path: str, status: int, json: Any, *, provider: str = "dyte") -> None:
        """Fail unless it is what is documented for this status, or for any error."""
        operation = self._operation(method, path)
        responses = operation.document["responses"]
        response = responses.get(str(status)) or responses.get(f"{status // 100}XX")
        if response is None and status in SUCCESS:
            _fail_with([("answer", f"no status {status} is documented")], operation, provider)
        if status not in SUCCESS:
            _fail_with(self._faults_of_refusal(status, json, response, provider), operation, provider)
            return
        content = self._resolved(response).get("content", {})
        if content:
            _fail_with(
                self._faults(content["application/json"]["schema"], json, "answer"), operation, provider
            )

    def operations(self) -> Iterator[tuple[str, str]]:
        """Method and path of all."""
        for path, methods in self.document["paths"].items():
            for method in methods:
                if method in ("get", "post", "put", "patch", "delete"):
                    yield method.upper(), path

    def operation(self, method: str, path: str) -> tuple[str, str]:
        """Method and path, as the specification writes it, of what this is a request of."""
        found = self._operation(method, path)
        return found.method, found.path

    def _operation(self, method: str, path: str) -> "_Operation":
        fitting = [
            each
            for verb, each in self.operations()
            if verb == method and re.fullmatch(re.sub(r"\{[\w-]+\}", "[^/]+", each), path)
        ]
        assert fitting, f"{method} {path} is not in the specification"
        found = min(fitting, key=lambda each: each.count("{"))
        shared = self.document["paths"][found].get("parameters", [])
        document = self.document["paths"][found][method.lower()]
        parameters = [self._resolved(each) for each in [*shared, *document.get("parameters", [])]]
        return _Operation(method, found, document, parameters)

    def _faults_of_refusal(
        self, status: int, json: Any, response: Any, provider: str
    ) -> list[tuple[str, str]]:
        is_of_gateway = isinstance(json, dict) and "errors" in json
        if provider == "realtimekit" and is_of_gateway:
            return self._faults(_CLOUDFLARE_ERROR, json, "answer")
        if status == 401 and provider == "dyte":
            return [] if json == {"message": "Unauthorized"} else [("answer", "is not Unauthorized")]
        content = self._resolved(response or {}).get("content", {})
        error = {"$ref": "#/components/schemas/GenericErrorResponse"}
        return self._faults(content.get("application/json", {}).get("schema", error), json, "answer")

    def _faults(self, schema: Mapping[str, Any], value: Any, where: str) -> list[tuple[str, str]]:
        """Where and what, for each that does not fit, and for each field that is not documented."""
        found = [
            (where + error.json_path[1:], error.message)
            for error in self._validator(schema).iter_errors(value)
        ]
        return found + [(place, "undocumented") for place in self._undocumented([schema], value, where)]

    def _undocumented(self, schemas: list[Any], value: Any, where: str) -> Iterator[str]:
        """The fields of objects whose fields are documented, which none of the schemas names."""
        schemas = [part for schema in schemas for part in self._parts(schema)]
        if isinstance(value, list):
            items = [schema["items"] for schema in schemas if "items" in schema]
            for at, item in enumerate(value if items else ()):
                yield from self._undocumented(items, item, f"{where}[{at}]")
        if isinstance(value, dict):
            named = [schema["properties"] for schema in schemas if "properties" in schema]
            is_free = not named or any(schema.get("additionalProperties") for schema in schemas)
            for name, inner in value.items():
                of_it = [properties[name] for properties in named if name in properties]
                if of_it:
                    yield from self._undocumented(of_it, inner, f"{where}.{name}")
                elif not is_free:
                    yield f"{where}.{name}"

    def _parts(self, schema: Any) -> Iterator[Any]:
        schema = self._resolved(schema)
        yield schema
        for part in schema.get("allOf", ()):
            yield from self._parts(part)

    def _resolved(self, found: Any) -> Any:
        while "$ref" in found:
            reference, found = found["$ref"], self.document
            for name in reference.removeprefix("#/").split("/"):
                found = found[name]
        return found


@dataclass(frozen=True)
class _Operation:
    method: str
    path: str
    document: Mapping[str, Any]
    parameters: list[Any]


_URI = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+$")
_CLOUDFLARE_ERROR = {
    "type": "object",
    "properties": {
        "success": {"enum": [False]},
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
                "required": ["code", "message"],
            },
        },
        "messages": {"type": "array"},
        "result": {"enum": [None]},
    },
    "required": ["success", "errors", "messages", "result"],
}
"""The envelope of Cloudflare's API (https://developers.cloudflare.com/fundamentals/api/)."""


def _is_moment(text: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text))


def _parsed(schema: Mapping[str, Any], text: str) -> Any:
    """A parameter's text as what it stands for; as it is if it stands for none."""
    match schema["type"]:
        case "number" | "integer":
            return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
        case "array":
            return text.split(",")
    return text


def _fail_with(faults: list[tuple[str, str]], operation: _Operation, provider: str) -> None:
    name = f"{operation.method} {operation.path}"
    left = [f"{place} {fault}" for place, fault in faults if not _is_excepted(name, place, fault, provider)]
    assert not left, f"{name} ({provider}): " + "; ".join(left)


def _is_excepted(operation: str, place: str, fault: str, provider: str) -> bool:
    return any(
        each.provider in (None, provider)
        and re.fullmatch(each.operation, operation)
        and re.fullmatch(each.place, place)
        and re.fullmatch(each.fault, fault, re.DOTALL)
        for each in EXCEPTIONS
    )
