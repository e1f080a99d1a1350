"""What the tests of the provider's commands have in common: what is printed, and an API with webhooks."""

from typing import Any

from service.commands.recordings import start
from service.commands.telling import Telling
from service.event import EVENTS
from service.provider import ProviderApi
from tests.unit.scripted_api import Answer, Asked, bad, good

URL = "https://archiver.example.com/webhook"
AWS = {"type": "aws", "access_key": "AKIAEXAMPLE", "secret": "wJalrXUtnFEMI", "bucket": "meetings",
       "region": "eu-central-1", "path": "calls"}  # fmt: skip


class Subscriptions:
    """The webhooks of an organisation, as the API keeps them: the same address as often as it is asked."""

    def __init__(self, *kept: dict[str, Any]) -> None:
        self.kept = [{"id": f"w{n}", "name": "kept", "enabled": True} | each for n, each in enumerate(kept)]
        self.changes: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        webhook_id = asked.path.removeprefix("/webhooks").strip("/")
        found = next((each for each in self.kept if each["id"] == webhook_id), None)
        if asked.method != "GET":
            self.changes.append(asked.method)
        if asked.method == "POST":
            found = {"id": f"new{len(self.changes)}", **asked.body}
            self.kept.append(found)
            return good(found, 201)
        if asked.method == "GET" and not webhook_id:
            return good(list(self.kept))
        if found is None:
            return bad(404, "no such webhook")
        if asked.method == "PUT":
            found |= asked.body
        if asked.method == "DELETE":
            self.kept.remove(found)
        return good(found)


def telling(*, as_json: bool = False, links: bool = False, secrets: tuple[str, ...] = ()) -> Telling:
    return Telling(as_json=as_json, links=links, secrets=secrets)


def fitting(**more: Any) -> dict[str, Any]:
    return {"url": URL, "events": [*EVENTS]} | more


async def begun(api: ProviderApi, told: Telling, **more: Any) -> None:
    options: dict[str, Any] = {"max_seconds": None, "allow_multiple": False, "file_name_prefix": None}
    await start(api, told, meeting_id="m1", **{**options, "storage": None, **more})
