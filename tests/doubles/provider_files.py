"""The provider's files behind signed links, which work until they expire, as a test may bring about."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote
from zlib import crc32

from tests.doubles.content import Content
from tests.doubles.recording import Recording as Served
from tests.doubles.source import FaultySource
from tests.doubles.source_faults import Request

__all__ = ["FileDouble", "Links"]

_TYPES = {
    "mp4": "video/mp4",
    "mp3": "audio/mpeg",
    "webm": "audio/webm",
    "csv": "text/csv",
    "txt": "text/plain",
    "tar": "application/x-tar",
}


@dataclass(frozen=True)
class FileDouble:
    """One file: `kind` is what it is (`video`, `audio`, `track`, `chat`, `transcript`, `summary`).

    `layer` and `name` tell the files of a track recording apart. `served` is the file server's side: what was
    asked of the file, and what else may be wrong with it (`served.fail(status=503)`).
    """

    kind: str
    name: str
    served: Served
    layer: str = ""

    @property
    def content(self) -> Content:
        """What it holds, the same for every link."""
        return self.served.content


class Links:
    """The links to what belongs to one recording, or to one session.

    A link is signed, so that it works only exactly as it was issued, and for GET alone; `token` counts the
    links. As long as it works, so does what is being sent for it.
    """

    def __init__(self, *, clock: Callable[[], float], expires_at: Callable[[], float | None]) -> None:
        self._clock = clock
        self._expires_at = expires_at
        self._files: list[Served] = []
        self._issued = 0
        self._dead = 0
        self._dies_at: int | None = None
        self._is_deleted = False

    def serve(self, source: FaultySource, path: str, size: int) -> Served:
        """Serve `size` bytes that follow from the path."""
        source.add(path, size, seed=crc32(path.encode()))
        served = source[path]
        served.content_type = _TYPES.get(path.rpartition(".")[2], "application/octet-stream")
        served.gate = lambda request: self._refusal(served, request)
        self._files.append(served)
        return served

    def issue(self, file: FileDouble) -> str:
        """A new link."""
        self._issued += 1
        return f"{file.served.url}?{_query(file.served, self._issued)}"

    def expire(self) -> None:
        """Let all links that were issued so far be refused from now on; later ones work."""
        self._dead = self._issued

    def expire_after(self, sent_bytes: int) -> None:
        """Let this happen once, when so many bytes more were sent of all the files together."""
        self._dies_at = self.sent + sent_bytes

    def delete(self) -> None:
        """Have the files no more."""
        self._is_deleted = True

    @property
    def sent(self) -> int:
        """Bytes of all the files together, errors not counted."""
        return sum(request.sent for file in self._files for request in file.requests if request.status < 300)

    def _refusal(self, served: Served, request: Request) -> int | None:
        if self._dies_at is not None and self.sent >= self._dies_at:
            self._dies_at = None
            self.expire()
        token = re.search(r"&token=(\d+)$", request.query)
        if token is None or request.query != _query(served, int(token[1])) or request.method != "GET":
            return 403
        expires_at = self._expires_at()
        if int(token[1]) <= self._dead or (expires_at is not None and self._clock() >= expires_at):
            return 403
        return 404 if self._is_deleted else None


def contents(files: Iterable[FileDouble]) -> dict[str, Content]:
    """What the files hold, by their kind, or by layer and name in a track recording."""
    return {f"{file.layer}/{file.name}" if file.layer else file.kind: file.content for file in files}


def _query(served: Served, token: int) -> str:
    # In base64, so that whoever quotes it anew or unquotes it breaks it.
    digest = hashlib.sha512(f"{served.name}:{token}:of the provider".encode()).digest()
    return f"X-Signature={quote(base64.b64encode(digest), safe='')}&token={token}"
