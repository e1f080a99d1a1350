"""Signed deliveries as Dyte sends them: `recording.statusUpdate` of made-up recordings."""

import base64
import datetime as dt
import json
import uuid
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_WEBHOOK_ID = "3f2b2c1e-6f0d-4a35-9c55-6f2d3b5f8a10"


@dataclass(frozen=True)
class Delivery:
    """One HTTP attempt: what to POST."""

    body: bytes
    headers: dict[str, str]


class Signer:
    """A provider with a key of its own."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_pem(self) -> str:
        """What the service is told to verify with."""
        public = self._key.public_key()
        encoded = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return encoded.decode("ascii")

    def uploaded(self, *, file_name: str, link: str, size_bytes: int) -> Delivery:
        """The news that a recording can be downloaded from `link` for a week."""
        now = dt.datetime.now(dt.UTC)
        return self._delivery(
            status="UPLOADED",
            outputFileName=file_name,
            downloadUrl=link,
            downloadUrlExpiry=_stamp(now + dt.timedelta(days=7)),
            fileSize=size_bytes,
            stoppedTime=_stamp(now),
            stopReason="{'reason':'ALL_PEERS_LEFT','caller':{'type':'INTERNAL'}}",
            recordingDuration=47,
        )

    def recording(self) -> Delivery:
        """The news that a recording has begun: nothing to download, only to be noted and answered."""
        return self._delivery(status="RECORDING", outputFileName=f"{uuid.uuid4()}.mp4", stoppedTime=None)

    def _delivery(self, **fields: object) -> Delivery:
        """A new recording, meeting and session each time, so that nothing counts as news already known."""
        recording_id, meeting_id, session_id = (str(uuid.uuid4()) for _ in range(3))
        organization_id = "c94c437b-592a-4a39-b9e2-47ef1451e43c"
        content = {
            "event": "recording.statusUpdate",
            "meeting": {
                "id": meeting_id,
                "title": "Benchmark",
                "status": "LIVE",
                "endedAt": None,
                "roomName": "bench-room",
                "createdAt": "2023-04-14T04:45:37.637Z",
                "sessionId": session_id,
                "startedAt": "2023-04-14T04:45:37.637Z",
                "organizedBy": {"id": organization_id, "name": "bench"},
            },
            "recording": {
                "id": recording_id,
                "recordingId": recording_id,
                "roomUUID": session_id,
                "meetingId": meeting_id,
                "organizationId": organization_id,
                "startedTime": "2023-04-14 04:46:08.306221Z",
                **fields,
            },
        }
        body = json.dumps(content, separators=(",", ":")).encode()
        signature = self._key.sign(body, padding.PKCS1v15(), hashes.SHA256())
        headers = {
            "content-type": "application/json",
            "dyte-signature": base64.b64encode(signature).decode("ascii"),
            "dyte-uuid": str(uuid.uuid4()),
            "dyte-webhook-id": _WEBHOOK_ID,
        }
        return Delivery(body, headers)


def _stamp(moment: dt.datetime) -> str:
    """The provider's way to write a time."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}Z"
