"""What the client asks is what the provider's specification allows, and what that promises is understood.

The specification is OpenAPI 3.0 and refers to itself without end, so its references are followed as needed.
It is looked for beside the repository, and without it these tests are skipped.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from service.event import EVENTS
from service.model import Kind
from service.provider import ProviderApi
from tests.unit.scripted_api import Answer, Asked, ScriptedApi

MEETING = "97440c6a-140b-40a9-9499-b23fd7a3868a"
IDENTITY = "0d1f069d-43bb-489a-ad8c-7eb95592ba8e"
MOMENT = "2026-06-03T10:00:00.000Z"
RECORDING = {
    "id": IDENTITY,
    "download_url": "https://files.example.com/rec.mp4?sig=1",
    "download_url_expiry": MOMENT,
    "audio_download_url": None,
    "file_size": 5,
    "session_id": MEETING,
    "output_file_name": "rec.mp4",
    "status": "UPLOADED",
    "invoked_time": MOMENT,
    "started_time": MOMENT,
    "stopped_time": None,
    "recording_duration": 60,
    "storage_config": {"type": "aws", "bucket": "b", "region": "us-east-1"},
    "stop_reason": {"reason": "ALL_PEERS_LEFT", "caller": {"type": "ORGANIZATION"}},
}
WEBHOOK = {
    "id": IDENTITY,
    "name": "archiver",
    "url": "https://a.example/webhook",
    "events": [*EVENTS],
    "enabled": True,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
MADE = {"id": MEETING, "title": "Weekly", "created_at": MOMENT, "updated_at": MOMENT}
SESSION = {
    "id": IDENTITY,
    "associated_id": MEETING,
    "meeting_display_name": "Weekly",
    "type": "meeting",
    "status": "ENDED",
    "live_participants": 0,
    "max_concurrent_participants": 2,
    "minutes_consumed": 2.5,
    "organization_id": IDENTITY,
    "started_at": MOMENT,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
PAGING = {"total_count": 1, "start_offset": 1, "end_offset": 1}
FILE = "https://files.example.com/file.csv?sig=1"


def envelope(data: Any, **more: Any) -> dict[str, Any]:
    return {"success": True, "data": data, **more}


ANSWERS: dict[tuple[str, str], tuple[int, Any]] = {
    ("GET", "/recordings"): (200, envelope([{**RECORDING, "meeting": MADE}], paging=PAGING)),
    ("POST", "/recordings"): (200, envelope({**RECORDING, "status": "INVOKED"})),
    ("GET", "/recordings/{recording_id}"): (200, envelope(RECORDING)),
    ("PUT", "/recordings/{recording_id}"): (200, envelope({**RECORDING, "status": "UPLOADING"})),
    ("GET", "/sessions"): (200, envelope({"sessions": [SESSION]}, paging=PAGING)),
    ("GET", "/sessions/{session_id}/chat"): (
        200,
        envelope({"chat_download_url": FILE, "chat_download_url_expiry": MOMENT}),
    ),
    ("GET", "/sessions/{session_id}/transcript"): (
        200,
        envelope(
            {"sessionId": "s", "transcript_download_url": FILE, "transcript_download_url_expiry": MOMENT}
        ),
    ),
    ("GET", "/sessions/{session_id}/summary"): (
        200,
        envelope({"sessionId": "s", "summaryDownloadUrl": FILE, "summaryDownloadUrlExpiry": MOMENT}),
    ),
    ("GET", "/webhooks"): (200, envelope([WEBHOOK])),
    ("POST", "/webhooks"): (201, envelope(WEBHOOK)),
    ("PUT", "/webhooks/{webhook_id}"): (200, envelope(WEBHOOK)),
    ("DELETE", "/webhooks/{webhook_id}"): (200, envelope(WEBHOOK)),
    ("POST", "/meetings"): (201, envelope(MADE)),
}  # fmt: skip
"""What the provider answers, by operation; each is checked against the specification too."""


class Spec:
    """The specification, as far as these tests go by it."""

    def __init__(self, path: Path) -> None:
        yaml = pytest.importorskip("yaml")
        validators = pytest.importorskip("openapi_schema_validator")
        referencing = pytest.importorskip("referencing")
        from referencing.jsonschema import DRAFT4

        self.document: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
        resource = referencing.Resource.from_contents(self.document, default_specification=DRAFT4)
        registry = referencing.Registry().with_resource("spec:", resource)

        def faults(schema: Mapping[str, Any], value: Any) -> Iterator[Any]:
            pointed = {"$ref": f"spec:{schema['$ref']}"} if "$ref" in schema else _absolute(schema)
            found: Iterator[Any] = validators.OAS30Validator(pointed, registry=registry).iter_errors(value)
            return found

        self._faults = faults

    def operation(self, asked: Asked) -> tuple[str, str]:
        """Method and path of the operation, as the specification writes it; the plainest that fits."""
        fitting = [
            path
            for path, operations in self.document["paths"].items()
            if asked.method.lower() in operations
            and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), asked.path)
        ]
        assert fitting, f"there is no {asked.method} {asked.path}"
        return asked.method, min(fitting, key=lambda path: path.count("{"))

    def check_request(self, asked: Asked) -> None:
        """Every parameter is documented and what it should be, and so is the body."""
        method, path = self.operation(asked)
        operation = self.document["paths"][path][method.lower()]
        parameters = [self._resolved(each) for each in operation.get("parameters", [])]
        known = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
        assert set(asked.query) <= set(known), f"{path} has no {set(asked.query) - set(known)}"
        for name, text in asked.query.items():
            self._check(known[name], _parsed(known[name], text), f"{method} {path} {name}")
        body = self._resolved(operation.get("requestBody", {}))
        if not body:
            assert asked.body is None
            return
        schema = body["content"]["application/json"]["schema"]
        self._check(schema, asked.body, f"{method} {path}")
        undocumented = set(asked.body) - set(self._resolved(schema)["properties"])
        assert not undocumented, f"{method} {path} has no {undocumented}"

    def check_answer(self, operation: tuple[str, str], status: int, body: Any) -> None:
        """The answer is one that is documented for this status."""
        method, path = operation
        answer = self._resolved(self.document["paths"][path][method.lower()]["responses"][str(status)])
        self._check(answer["content"]["application/json"]["schema"], body, f"the answer to {method} {path}")

    def _check(self, schema: Mapping[str, Any], value: Any, what: str) -> None:
        found = [f"{what}: {fault.json_path} {fault.message}" for fault in self._faults(schema, value)]
        assert not found, "\n".join(found)

    def _resolved(self, found: Any) -> Any:
        while "$ref" in found:
            reference, found = found["$ref"], self.document
            for name in reference.removeprefix("#/").split("/"):
                found = found[name]
        return found


def _absolute(schema: Any) -> Any:
    """The schema with references that are found from outside the document too."""
    if isinstance(schema, dict):
        return {
            name: f"spec:{value}" if name == "$ref" else _absolute(value) for name, value in schema.items()
        }
    return [_absolute(each) for each in schema] if isinstance(schema, list) else schema


def _parsed(schema: Mapping[str, Any], text: str) -> Any:
    match schema["type"]:
        case "number" | "integer":
            return float(text)
        case "array":
            return text.split(",")
    return text


@pytest.fixture(scope="module")
def spec(shared: Path) -> Spec:
    return Spec(shared / "dyte/openapi-v2.yaml")


@pytest.fixture
async def server(spec: Spec) -> AsyncIterator[ScriptedApi]:
    """An API that answers as documented, to what is documented."""
    async with ScriptedApi() as server:

        def script(asked: Asked) -> Answer:
            status, body = ANSWERS[spec.operation(asked)]
            return Answer(status, body)

        server.script = script
        yield server


async def test_every_request_and_every_answer_is_as_specified(spec: Spec, server: ScriptedApi) -> None:
    async with server.client() as api:
        await ask_everything(api)
    for asked in server.asked:
        spec.check_request(asked)
    assert {spec.operation(asked) for asked in server.asked} == set(ANSWERS)
    for operation, (status, body) in ANSWERS.items():
        spec.check_answer(operation, status, body)


async def ask_everything(api: ProviderApi) -> None:
    """Make each call with all that it can be given; what is specified is understood."""
    [[event]] = [page async for page in api.recordings(meeting_id=MEETING)]
    assert event.recording is not None
    assert (event.recording.id, event.recording.title, len(event.artifacts)) == (IDENTITY, "Weekly", 1)
    one = await api.recording(IDENTITY)
    assert one.recording is not None
    assert one.recording.storage_config == '{"bucket": "b", "region": "us-east-1", "type": "aws"}'
    [[document]] = [page async for page in api.recording_documents(meeting_id=MEETING, status="UPLOADED")]
    assert document["meeting"] == MADE
    [[session]] = [page async for page in api.sessions()]
    assert (session.id, session.meeting_id, session.title) == (IDENTITY, MEETING, "Weekly")
    for kind in (Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY):
        found = await api.session_file(session.id, kind)
        assert found is not None
        assert found.url == FILE
    await api.check()
    [webhook] = await api.webhooks()
    wanted: dict[str, Any] = {"name": "archiver", "url": "https://a.example/webhook", "events": EVENTS}
    assert await api.add_webhook(**wanted) == webhook
    assert await api.change_webhook(IDENTITY, **wanted, enabled=False) == webhook
    await api.delete_webhook(IDENTITY)
    made = await api.create_meeting(title="Weekly", record_on_start=True, region="eu-central-1")
    assert made == MADE
    started = await api.start_recording(
        MEETING,
        max_seconds=60,
        allow_multiple_recordings=True,
        file_name_prefix="weekly",
        storage_config={"type": "aws", "bucket": "b", "region": "us-east-1"},
    )
    assert started["status"] == "INVOKED"
    assert (await api.stop_recording(IDENTITY))["status"] == "UPLOADING"
    assert await api.recording_document(IDENTITY) == RECORDING


@pytest.mark.parametrize(
    "asked",
    [
        Asked("PATCH", "/recordings/x", {}, None, {}),
        Asked("GET", "/recordings", {"per_page": "many"}, None, {}),
        Asked("GET", "/recordings", {"page": "1"}, None, {}),
        Asked("GET", "/recordings", {"status": "UPLOADED,GONE"}, None, {}),
        Asked("POST", "/meetings", {}, {"preferred_region": "mars"}, {}),
        Asked("POST", "/webhooks", {}, {"name": "n", "url": "u"}, {}),
        Asked("POST", "/recordings", {}, {"meeting_id": "m", "seconds": 5}, {}),
    ],
)
def test_what_is_not_specified_does_not_pass_the_check(spec: Spec, asked: Asked) -> None:
    with pytest.raises((AssertionError, ValueError)):
        spec.check_request(asked)


@pytest.mark.parametrize("changes", [{"status": "GONE"}, {"file_size": "5"}, {"session_id": 5}])
def test_an_answer_that_is_not_specified_does_not_pass_the_check(spec: Spec, changes: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        spec.check_answer(("GET", "/recordings/{recording_id}"), 200, envelope({**RECORDING, **changes}))
