"""An SFTP server in this process that lacks, refuses or leaves unanswered what a test wants it to."""

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncssh
from asyncssh.constants import FXP_RENAME
from asyncssh.sftp import SFTPServerHandler
from asyncssh.stream import SSHReader, SSHServerStreamSession, SSHWriter
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.doubles.ssh_keys import SshKey

__all__ = ["EXTENSIONS", "RENAMES", "SftpServerDouble"]

EXTENSIONS: frozenset[bytes | int] = frozenset(
    name for name, _ in SFTPServerHandler._extensions if name not in {b"newline", b"vendor-id"}
)
"""All that goes beyond version 3 of the protocol."""

RENAMES: frozenset[bytes | int] = frozenset(
    {b"posix-rename@openssh.com", b"hardlink@openssh.com", FXP_RENAME}
)
"""All that gives a file another name."""


class SftpServerDouble:
    """Serves the folder `root`, for one account with a password; entered on the loop on which it runs.

    `lacks` are the requests that it does not know (and does not offer). Everything else is a plain attribute,
    read anew each time: `room` is how many more bytes may be written before its disk is full, in `refused`
    stands what is answered with which error number, `is_silent` leaves requests unanswered, `most` is how
    many connections it takes at once. `on_request` is called in its thread with each request's kind.
    """

    username, password = "archiver", "archiver-test-password"

    def __init__(self, root: Path, *, lacks: Iterable[bytes | int] = ()) -> None:
        self.root = root
        self.host_key = SshKey(Ed25519PrivateKey.generate())
        self.lacks = frozenset(lacks)
        self.room: int | None = None
        self.refused: dict[bytes | int, int] = {}
        self.is_silent = False
        self.has_sftp = True
        self.asks_for_password = "password"  # or "keyboard-interactive"
        self.passwords_given: list[str] = []
        self.requests: Counter[bytes | int] = Counter()
        self.most = 100
        self.open_files = 0
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.connections_ever = 0
        self.turned_away = 0
        self.on_request: Callable[[bytes | int], None] = lambda _kind: None
        self.port = 0
        self._server: asyncssh.SSHAcceptor

    async def __aenter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        self._server = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=lambda: _Server(self),
            server_host_keys=[asyncssh.import_private_key(self.host_key.private())],
            encoding=None,
        )
        self.port = self._server.get_port()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Cut every connection. To be called in its own thread, such as from `on_request`."""
        for connection in list(self.connections):
            connection.abort()

    def storage_config(self, path: str, **fields: Any) -> dict[str, Any]:
        """The `storage_config` of a folder in it; `fields` replace some, and None removes one."""
        known = {
            "type": "sftp",
            "host": "127.0.0.1",
            "port": self.port,
            "path": path,
            "username": self.username,
            "password": self.password,
            "host_key_fingerprint": self.host_key.fingerprint,
            **fields,
        }
        return {name: value for name, value in known.items() if value is not None}


class _Server(asyncssh.SSHServer):
    def __init__(self, double: SftpServerDouble) -> None:
        self._double = double

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        if len(self._double.connections) >= self._double.most:
            self._double.turned_away += 1
            conn.abort()
            return
        self._double.connections.append(conn)
        self._double.connections_ever += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection in self._double.connections:
            self._double.connections.remove(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._double.asks_for_password == "password"

    def validate_password(self, username: str, password: str) -> bool:
        self._double.passwords_given.append(password)
        return (username, password) == (self._double.username, self._double.password)

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", "", "", [("Passwort: ", False)]

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        return self.validate_password(username, responses[0])

    def session_requested(self) -> Any:
        return _Session(self._double)


class _Session(SSHServerStreamSession[bytes]):
    def __init__(self, double: SftpServerDouble) -> None:
        super().__init__(None, None, 3, False)
        self._double = double

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp" and self._double.has_sftp

    def session_started(self) -> None:
        assert self._chan is not None
        self._chan.set_encoding(None)
        handler = _Handler(
            self._double,
            _Files(self._double, self._chan),
            SSHReader(self, self._chan),
            SSHWriter(self, self._chan),
        )
        self._chan.get_connection().create_task(handler.run())


class _Handler(SFTPServerHandler):
    def __init__(
        self,
        double: SftpServerDouble,
        server: asyncssh.SFTPServer,
        reader: SSHReader[bytes],
        writer: SSHWriter[bytes],
    ) -> None:
        super().__init__(server, reader, writer, 3)
        self._double = double
        self._extensions = [extension for extension in self._extensions if extension[0] not in double.lacks]

    async def _process_packet(self, pkttype: int, pktid: int, packet: Any) -> None:
        kind: bytes | int = pkttype
        if pkttype == asyncssh.constants.FXP_EXTENDED:
            position = packet._idx
            kind = packet.get_string()
            packet._idx = position
        self._double.requests[kind] += 1
        self._double.on_request(kind)
        if self._double.is_silent:
            return
        refusal = self._double.refused.get(kind)
        if kind in self._double.lacks or refusal is not None:
            await self._refuse(pktid, refusal)
            return
        await super()._process_packet(pkttype, pktid, packet)

    async def _refuse(self, pktid: int, number: int | None) -> None:
        if number is None:
            error = asyncssh.SFTPError(asyncssh.FX_OP_UNSUPPORTED, "Unsupported request")
        elif number == errno.EACCES:
            error = asyncssh.SFTPError(asyncssh.FX_PERMISSION_DENIED, "Permission denied")
        else:
            error = asyncssh.SFTPError(asyncssh.FX_FAILURE, "Failure")
        packet_id = pktid.to_bytes(4, "big")
        self.send_packet(asyncssh.constants.FXP_STATUS, pktid, packet_id, error.encode(3))
        await asyncio.sleep(0)


class _Files(asyncssh.SFTPServer):
    def __init__(self, double: SftpServerDouble, channel: Any) -> None:
        super().__init__(channel, chroot=os.fsencode(double.root))
        self._double = double

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        opened = super().open(path, pflags, attrs)
        self._double.open_files += 1
        return opened

    def close(self, file_obj: object) -> Any:
        self._double.open_files -= 1
        return super().close(file_obj)

    def write(self, file_obj: object, offset: int, data: bytes) -> Any:
        if self._double.room is not None:
            if len(data) > self._double.room:
                raise OSError(errno.EIO, "Failure")  # as OpenSSH tells it
            self._double.room -= len(data)
        return super().write(file_obj, offset, data)

    def statvfs(self, path: bytes) -> Any:
        found = asyncssh.SFTPVFSAttrs.from_local(os.statvfs(self.map_path(path)))
        if self._double.room is not None:
            found.bavail = self._double.room // found.frsize
        return found
