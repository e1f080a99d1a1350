"""The provider's webhooks: who wants which events, and signed deliveries to them."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp

from service.demo.signing import Signer
from service.demo.telling import Teller
from service.model import Provider

_FAMILIES = {Provider.DYTE: "dyte", Provider.REALTIMEKIT: "rtk"}
_ANSWER_S = 3.0


class Webhooks:
    """Tells each delivery and its answer. One that fails is lost at once: nothing is delivered again."""

    def __init__(self, provider: Provider, tell: Teller) -> None:
        self._family = _FAMILIES[provider]
        self._tell = tell
        self._signer = Signer()
        self.registered: list[dict[str, Any]] = []

    @property
    def key_document(self) -> Mapping[str, Any]:
        """Where the public key is published, this is found."""
        return {"success": True, "data": {"publicKey": self._signer.public_key}, "message": ""}

    def register(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Take a subscription, as ``POST /webhooks`` has it; returns the webhook's document."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {name: wanted[name] for name in ("name", "url", "events")}
        webhook = {
            "id": str(uuid.uuid4()),
            **known,
            "enabled": wanted.get("enabled", True),
            "created_at": now,
            "updated_at": now,
        }
        self.registered.append(webhook)
        return webhook

    async def deliver(self, event: Mapping[str, Any]) -> None:
        """Sign the event and post it to every webhook that wants it."""
        body = json.dumps(event, separators=(",", ":")).encode()
        named = " ".join(filter(None, [event["event"], event.get("recording", {}).get("status")]))
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for webhook in self.registered:
                if event["event"] not in webhook["events"] or not webhook["enabled"]:
                    continue
                headers = {
                    "Content-Type": "application/json",
                    f"{self._family}-signature": self._signer.signed(body),
                    f"{self._family}-uuid": str(uuid.uuid4()),
                    f"{self._family}-webhook-id": webhook["id"],
                }
                try:
                    async with session.post(webhook["url"], data=body, headers=headers) as response:
                        outcome = f"answered {response.status} {await response.text()}"
                except (aiohttp.ClientError, TimeoutError):
                    outcome = "nobody answers: lost"
                self._tell("delivery", f"{named}: {outcome}")
