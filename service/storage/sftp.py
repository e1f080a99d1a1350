"""An SFTP server: parts are written at their offsets into a temporary file, which then gets its name."""

import asyncio
import contextlib
import posixpath
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Self

import asyncssh

from service.enduring import to_its_end
from service.errors import NameTaken, ObjectMissing, StorageError, StorageMismatch, UploadLost
from service.model import Attributes, Checksum, Part, Stored, Upload
from service.storage.config import SftpConfig
from service.storage.sftp_connection import LOST, Connection, Connections
from service.storage.sftp_errors import ABSENT, explained
from service.storage.sftp_files import checksum_in, create, discard, holds, publish, remove, size_of
from service.storage.sftp_login import Login

_LOGIN_S = 30.0
_SILENCE_S = 60.0
_IDLE_S = 60.0
_CLEAN_UP_S = 10.0

_SOME = 1024 * 1024
"""Bytes for which there is room unless the disk is full."""


class SftpStorage:
    """Objects as files in a folder on a server.

    A part's receipt says whether the server has brought it to its disk. Then the part counts as long as the
    file is there and long enough; if not, it is read back: after a power cut it may be gone.
    """

    def __init__(
        self,
        config: SftpConfig,
        *,
        login_s: float = _LOGIN_S,
        silence_s: float = _SILENCE_S,
        idle_s: float = _IDLE_S,
    ) -> None:
        self.label = config.label
        self._folder = config.path
        self._connections = Connections(Login(config, limit_s=login_s), silence_s=silence_s, idle_s=idle_s)

    @classmethod
    async def open(cls, config: SftpConfig) -> Self:
        """Read the keys. The server is not asked for anything yet."""
        return cls(config)

    async def begin(self, key: str, attributes: Attributes) -> str:
        """See :class:`~service.storage.Storage`."""
        upload_id = secrets.token_hex(8)
        async with self._connected(writes=1) as connection:
            await create(connection, self._temporary(key, upload_id))
        return upload_id

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        """See :class:`~service.storage.Storage`."""
        temporary = self._temporary(upload.key, upload.id)
        async with (
            self._connected(writes=len(body), for_a_part=True) as connection,
            connection.file(temporary, asyncssh.FXF_WRITE) as file,
        ):
            await connection.write(file, (number - 1) * upload.part_size, body)
            is_synced = await connection.sync(file)
        return _receipt(checksum, is_synced=is_synced)

    async def confirm(self, upload: Upload, parts: Sequence[Part]) -> frozenset[int]:
        """See :class:`~service.storage.Storage`."""
        temporary = self._temporary(upload.key, upload.id)
        async with self._connected() as connection:
            size = await size_of(connection, temporary)
            if size is None:
                raise UploadLost(upload.key)
            there = [part for part in parts if (part.number - 1) * upload.part_size + part.size <= size]
            sure = {part.number for part in there if part.receipt == _receipt(part.checksum, is_synced=True)}
            unsure = [part for part in there if part.number not in sure]
            return frozenset(sure | await _read_back(connection, temporary, upload.part_size, unsure))

    async def complete(self, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> Stored:
        """See :class:`~service.storage.Storage`."""
        size = sum(part.size for part in parts)
        temporary, final = self._temporary(upload.key, upload.id), self._path(upload.key)
        async with self._connected(writes=_SOME) as connection:
            found = await size_of(connection, temporary)
            if found is None:
                if not await holds(connection, final, size, checksum):
                    raise UploadLost(upload.key)
            elif found != size:
                raise StorageMismatch(f"{found} bytes instead of {size}")
            else:
                async with connection.file(temporary, asyncssh.FXF_WRITE) as file:
                    await connection.sync(file)
                await publish(connection, temporary, final, size, checksum, replace=False)
        return _stored(upload.key, size, checksum, upload.attributes)

    async def abort(self, upload: Upload) -> None:
        """See :class:`~service.storage.Storage`."""
        async with self._connected() as connection:
            await discard(connection, self._temporary(upload.key, upload.id), self._path(upload.key))

    async def uploads(self, key: str) -> list[str]:
        """See :class:`~service.storage.Storage`."""
        folder, name = posixpath.split(self._path(key))
        ours = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.part".encode())
        async with self._connected() as connection:
            found = await _names_in(connection, folder or ".", ours)
        return [temporary.split(".")[-2] for temporary in found]

    async def put(
        self,
        key: str,
        body: memoryview,
        *,
        checksum: Checksum,
        attributes: Attributes,
        replace: bool,
    ) -> Stored:
        """See :class:`~service.storage.Storage`."""
        temporary, final = self._temporary(key, secrets.token_hex(8)), self._path(key)
        try:
            async with self._connected(writes=len(body)) as connection:
                await create(connection, temporary)
                async with connection.file(temporary, asyncssh.FXF_WRITE) as file:
                    await connection.write(file, 0, body)
                    await connection.sync(file)
                await publish(connection, temporary, final, len(body), checksum, replace=replace)
        except BaseException:
            await to_its_end(self._clean_up(temporary, final))
            raise
        return _stored(key, len(body), checksum, attributes)

    async def stat(self, key: str) -> Stored | None:
        """See :class:`~service.storage.Storage`. A file does not say whose it is."""
        async with self._connected() as connection:
            size = await size_of(connection, self._path(key))
        return None if size is None else Stored(key, size, etag="")

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See :class:`~service.storage.Storage`."""
        try:
            async with (
                self._connected() as connection,
                connection.file(self._path(key), asyncssh.FXF_READ) as file,
            ):
                found = await connection.ask(file.stat())
                if found.type == asyncssh.FILEXFER_TYPE_DIRECTORY:
                    raise NameTaken("it is a folder")
                async with contextlib.aclosing(connection.read(file, 0, found.size or 0)) as blocks:
                    async for block in blocks:
                        yield block
        except UploadLost as error:
            raise ObjectMissing(key) from error

    async def link(self, key: str, *, valid_s: float) -> str | None:
        """See :class:`~service.storage.Storage`. There is none."""
        return None

    async def remove(self, key: str) -> None:
        """See :class:`~service.storage.Storage`."""
        async with self._connected() as connection:
            await remove(connection, self._path(key))

    async def close(self) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._connections.close()

    def _path(self, key: str) -> str:
        return posixpath.join(self._folder, key)

    def _temporary(self, key: str, upload_id: str) -> str:
        folder, name = posixpath.split(self._path(key))
        return posixpath.join(folder, f".{name}.{upload_id}.part")

    @contextlib.asynccontextmanager
    async def _connected(self, *, writes: int = 0, for_a_part: bool = False) -> AsyncIterator[Connection]:
        async with self._connections.one(for_a_part=for_a_part) as connection:
            try:
                yield connection
            except LOST:
                raise
            except asyncssh.SFTPError as error:
                raise await explained(connection, error, folder=self._folder, writes=writes) from error

    async def _clean_up(self, temporary: str, final: str) -> None:
        with contextlib.suppress(StorageError, TimeoutError):
            async with asyncio.timeout(_CLEAN_UP_S), self._connected() as connection:
                await discard(connection, temporary, final)


async def _read_back(
    connection: Connection, path: str, part_size: int, parts: Sequence[Part]
) -> frozenset[int]:
    """The numbers of the parts that are in the file, as a reading of it tells."""
    if not parts:
        return frozenset()
    found = set()
    async with connection.file(path, asyncssh.FXF_READ) as file:
        for part in parts:
            start = (part.number - 1) * part_size
            if await checksum_in(connection, file, start, start + part.size) == part.checksum.crc64nvme:
                found.add(part.number)
    return frozenset(found)


async def _names_in(connection: Connection, folder: str, wanted: re.Pattern[bytes]) -> list[str]:
    """What the folder has of the wanted names; the others need not be readable."""
    found = []
    names = connection.sftp.scandir(folder.encode())
    with contextlib.suppress(*ABSENT):
        while (entry := await connection.ask(anext(names, None))) is not None:
            name = entry.filename
            assert isinstance(name, bytes)  # as the folder was asked for
            if wanted.fullmatch(name):
                found.append(name.decode())
    return found


def _receipt(checksum: Checksum, *, is_synced: bool) -> str:
    return f"{'synced' if is_synced else 'written'} {checksum.crc64nvme:016x}"


def _stored(key: str, size: int, checksum: Checksum, attributes: Attributes) -> Stored:
    return Stored(key, size, f"{checksum.crc64nvme:016x}", checksum.crc64nvme, attributes.artifact_id)
