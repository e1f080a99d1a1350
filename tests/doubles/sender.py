"""The provider's side of a delivery: bodies with the documented fields, signed as the providers do."""

import base64
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.doubles.key_server import KeyFault, KeyServer

__all__ = ["Family", "KeyFault", "KeyServer", "Sender"]

Family = Literal["dyte", "rtk"]

ORGANIZATION_ID = "c94c437b-592a-4a39-b9e2-47ef1451e43b"
MEETING_ID = "26c31468-55d4-4099-b49d-109778b182df"
SESSION_ID = "56b81d16-5d4e-45ed-85b4-056587b00aa0"


class Sender:
    """One provider with a key pair of its own: whoever trusts `public_pem` accepts what it signs.

    Bodies are compact JSON with the documented fields and both providers' own formats: sizes are numbers from
    `dyte` and strings from `rtk`, times have a blank and microseconds from `dyte` and are RFC 3339 from
    `rtk`.
    """

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def public_pem(self) -> str:
        """The public key as the key document carries it: SubjectPublicKeyInfo in PEM."""
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode("ascii")

    def sign(self, body: bytes) -> str:
        """Return base64 of RSASSA-PKCS1-v1_5 with SHA-256 over the raw body."""
        return base64.b64encode(self._key.sign(body, padding.PKCS1v15(), SHA256())).decode("ascii")

    def headers(
        self,
        body: bytes,
        family: Family = "dyte",
        *,
        delivery_id: str | None = None,
        webhook_id: str | None = None,
    ) -> dict[str, str]:
        """Return the headers of one delivery of `body`; ids are new ones unless given."""
        return {
            "content-type": "application/json",
            f"{family}-signature": self.sign(body),
            f"{family}-uuid": delivery_id or str(uuid4()),
            f"{family}-webhook-id": webhook_id or str(uuid4()),
        }

    def uploaded(
        self,
        recording_id: str,
        url: str | None,
        *,
        family: Family = "dyte",
        size: int = 2044680,
        **fields: Any,
    ) -> bytes:
        """Return a `recording.statusUpdate` with status `UPLOADED`.

        `fields` replaces fields of `recording` by their own (camelCase) names; None leaves the field out.
        `url` None leaves `downloadUrl` out, as where the customer turned the provider's own bucket off.
        """
        return self.status(
            recording_id,
            "UPLOADED",
            family=family,
            **{
                "downloadUrl": url,
                "downloadUrlExpiry": _time(family, "2033-04-21", "04:46:55", 608944),
                "stoppedTime": _time(family, "2023-04-14", "04:46:55", 420986),
                "fileSize": size if family == "dyte" else str(size),
                "recordingDuration": 47,
                "stopReason": _STOP_REASON if family == "dyte" else None,
                **fields,
            },
        )

    def status(
        self,
        recording_id: str,
        status: str,
        *,
        family: Family = "dyte",
        meeting: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> bytes:
        """Return a `recording.statusUpdate` with any status.

        `fields` is as for `uploaded`; `meeting` replaces what the event says of it as a whole.
        """
        recording = {
            "id": recording_id,
            "recordingId": recording_id,
            "meetingId": MEETING_ID,
            "organizationId": ORGANIZATION_ID,
            "roomUUID": SESSION_ID,
            "status": status,
            "startedTime": _time(family, "2023-04-14", "04:46:08", 306221),
            "outputFileName": f"{recording_id}.mp4",
            **fields,
        }
        present = {name: value for name, value in recording.items() if value is not None}
        told = meeting or _meeting(ended=family == "rtk")
        return self.event("recording.statusUpdate", recording=present, meeting=told)

    def event(self, name: str, **fields: Any) -> bytes:
        """Return any event as compact JSON, in the order given; None leaves a field out."""
        body = {"event": name, **{field: value for field, value in fields.items() if value is not None}}
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()

    def finished(
        self,
        kind: Literal["transcript", "summary"],
        url: str,
        *,
        family: Family = "dyte",
        expiry: str | None = None,
        meeting: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return a `meeting.transcript` or `meeting.summary` whose text lies at `url`."""
        expiry = expiry or _time(family, "2033-12-13", "07:08:39", 51621)
        links = {f"{kind}DownloadUrl": url, f"{kind}DownloadUrlExpiry": expiry}
        return self.event(f"meeting.{kind}", meeting=meeting or _meeting(ended=True), **links)

    def chat_synced(self, url: str, *, family: Family = "dyte", **fields: Any) -> bytes:
        """Return a `meeting.chatSynced` whose chat lies at `url`; its ids are at the top level.

        `fields` replaces fields by their own names; None leaves one out.
        """
        told = {
            "sessionId": SESSION_ID,
            "meetingId": MEETING_ID,
            "title": None if family == "dyte" else "Meeting title",
            "chatDownloadUrl": url,
            "chatDownloadUrlExpiry": _time(family, "2033-12-13", "07:08:39", 51621),
            "organizedBy": _ORGANIZER,
        }
        return self.event("meeting.chatSynced", **told | fields)


_STOP_REASON = "{'reason':'ALL_PEERS_LEFT','caller':{'type':'INTERNAL'}}"
_ORGANIZER = {"id": ORGANIZATION_ID, "name": "Example organization"}


def _meeting(*, ended: bool) -> dict[str, Any]:
    return {
        "id": MEETING_ID,
        "sessionId": SESSION_ID,
        "title": "Meeting title",
        "status": "LIVE",
        "createdAt": "2023-04-14T04:45:37.637Z",
        "startedAt": "2023-04-14T04:45:37.637Z",
        "endedAt": "2023-04-14T04:47:37.637Z" if ended else None,
        "organizedBy": _ORGANIZER,
    }


def _time(family: Family, day: str, second: str, microsecond: int) -> str:
    if family == "dyte":
        return f"{day} {second}.{microsecond:06}Z"
    return f"{day}T{second}.{microsecond // 1000:03}Z"
