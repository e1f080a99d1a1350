"""What a storage does with files on an SFTP server beyond single requests: above all, giving one its name."""

import contextlib
import posixpath

import asyncssh
from awscrt.checksums import crc64nvme

from service.errors import NameTaken, StorageMismatch, StorageRefused
from service.model import Checksum
from service.storage.sftp_connection import Connection
from service.storage.sftp_errors import ABSENT

_CREATE = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
_REPLACE = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC

_CANNOT = (
    asyncssh.SFTPOpUnsupported,
    asyncssh.SFTPFailure,
    asyncssh.SFTPPermissionDenied,
    asyncssh.SFTPFileAlreadyExists,
    asyncssh.SFTPBadMessage,
)
"""What servers answer to what they do not do, or not in this case."""

_COPY_SIZE = 4 * 1024 * 1024


async def size_of(connection: Connection, path: str) -> int | None:
    """The size of a file, None if there is none."""
    try:
        return (await connection.ask(connection.sftp.stat(path))).size or 0
    except ABSENT:
        return None


async def remove(connection: Connection, path: str) -> None:
    """Remove a file; one that is gone is fine."""
    with contextlib.suppress(*ABSENT):
        await connection.ask(connection.sftp.remove(path))


async def create(connection: Connection, path: str) -> None:
    """Make an empty file that is not there yet, and the folders on its way."""
    try:
        async with connection.file(path, _CREATE):
            return
    except ABSENT:
        await _make_folder(connection, posixpath.dirname(path))
    try:
        async with connection.file(path, _CREATE):
            return
    except ABSENT as error:
        raise StorageRefused("the folder is not there and cannot be made", mend="check path") from error


async def holds(connection: Connection, path: str, size: int, checksum: Checksum) -> bool:
    """Whether a file is there with exactly this content, which is read back."""
    if await size_of(connection, path) != size:
        return False
    async with connection.file(path, asyncssh.FXF_READ) as file:
        crc = await checksum_in(connection, file, 0, size)
    return crc == checksum.crc64nvme


async def checksum_in(connection: Connection, file: asyncssh.SFTPClientFile, start: int, end: int) -> int:
    """The CRC-64/NVME of what is in a file from ``start`` up to ``end``."""
    crc = 0
    async with contextlib.aclosing(connection.read(file, start, end)) as blocks:
        async for block in blocks:
            crc = crc64nvme(block, crc)
    return crc


async def publish(
    connection: Connection, temporary: str, final: str, size: int, checksum: Checksum, *, replace: bool
) -> None:
    """Give a whole file its name. Raises ``NameTaken`` unless what has the name is the same, or ``replace``.

    A crash at any moment leaves either name or both, whole. Only a server that can neither link nor rename
    gets a copy, see :func:`_copy`.
    """
    if replace:
        done = await _take_over(connection, temporary, final)
    else:
        done = await _take(connection, temporary, final, size, checksum)
    if not done:
        await _copy(connection, temporary, final, size, replace=replace)
    await _sync_folder(connection, posixpath.dirname(final) or ".")


async def discard(connection: Connection, temporary: str, final: str) -> None:
    """Remove a temporary file, and the copy that was being made of it."""
    mark = _copy_mark(temporary)
    if await size_of(connection, mark) is not None:
        if await _is_own_copy(connection, mark, final):
            await remove(connection, final)
        await remove(connection, mark)
    await remove(connection, temporary)


async def _take(connection: Connection, temporary: str, final: str, size: int, checksum: Checksum) -> bool:
    """Link or rename to a name that is free; False if the server does neither.

    A link never replaces a file. Nor does a rename, says the protocol, and OpenSSH heeds it, but not every
    server: so it comes second, and the name is looked at just before.
    """
    for step in (connection.sftp.link, connection.sftp.rename):
        if await _has_name(connection, temporary, final, size, checksum):
            return True
        try:
            await connection.ask(step(temporary, final))
        except _CANNOT:
            continue
        await _remove_second_name(connection, temporary)
        return True
    return await _has_name(connection, temporary, final, size, checksum)


async def _has_name(
    connection: Connection, temporary: str, final: str, size: int, checksum: Checksum
) -> bool:
    """Whether the file got its name before, and only the answer was lost. Raises ``NameTaken``."""
    if await size_of(connection, final) is None:
        return False
    if await _is_own_copy(connection, _copy_mark(temporary), final):
        return False
    if not await holds(connection, final, size, checksum):
        raise NameTaken(posixpath.basename(final))
    await _remove_second_name(connection, temporary)
    return True


async def _remove_second_name(connection: Connection, temporary: str) -> None:
    # Some accounts may not delete. What is left then is the same file under two names.
    with contextlib.suppress(*_CANNOT):
        await remove(connection, temporary)


async def _take_over(connection: Connection, temporary: str, final: str) -> bool:
    """Rename, replacing what has the name; False if the server does not rename at all.

    Where it does not replace, the old file is removed first: a crash just then leaves none, and whoever
    replaces files writes them again.
    """
    for step in (connection.sftp.posix_rename, connection.sftp.rename):
        with contextlib.suppress(*_CANNOT):
            await connection.ask(step(temporary, final))
            return True
    await remove(connection, final)
    with contextlib.suppress(*_CANNOT):
        await connection.ask(connection.sftp.rename(temporary, final))
        return True
    return False


async def _copy(connection: Connection, temporary: str, final: str, size: int, *, replace: bool) -> None:
    """Write the file once more under its name: what is left where nothing can be renamed.

    Until that is done the file is there but not whole. A mark beside it tells that it is ours: empty first,
    and a byte long once the name turned out to be free. By it the copy is begun again, or discarded.
    """
    mark = _copy_mark(temporary)
    if not replace:
        if await size_of(connection, mark) is None:
            await create(connection, mark)
        if not await _is_own_copy(connection, mark, final):
            await create(connection, final)
        async with connection.file(mark, asyncssh.FXF_WRITE) as marked:
            await connection.write(marked, 0, memoryview(b"1"))
    async with (
        connection.file(final, _REPLACE) as target,
        connection.file(temporary, asyncssh.FXF_READ) as source,
        contextlib.aclosing(connection.read(source, 0, size)) as blocks,
    ):
        copied, ahead = 0, bytearray()
        async for block in blocks:
            ahead += block
            if len(ahead) >= _COPY_SIZE or copied + len(ahead) == size:
                await connection.write(target, copied, memoryview(ahead))
                copied, ahead = copied + len(ahead), bytearray()
        await connection.sync(target)
    if (copied_size := await size_of(connection, final)) != size:
        raise StorageMismatch(f"{copied_size} bytes copied of {size}")
    await remove(connection, mark)
    await remove(connection, temporary)


async def _is_own_copy(connection: Connection, mark: str, final: str) -> bool:
    """Whether a copy was begun, and not another file put there. An empty one is ours, just begun."""
    marked = await size_of(connection, mark)
    return marked is not None and (marked > 0 or await size_of(connection, final) == 0)


async def _make_folder(connection: Connection, folder: str) -> None:
    """Make a folder and those above it. If it cannot be made, what is done in it will say so."""
    if folder in {"", "/"}:
        return
    try:
        await connection.ask(connection.sftp.mkdir(folder))
    except ABSENT:
        await _make_folder(connection, posixpath.dirname(folder))
        # Another may have made it meanwhile.
        with contextlib.suppress(asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists, *ABSENT):
            await connection.ask(connection.sftp.mkdir(folder))
    except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
        pass


async def _sync_folder(connection: Connection, folder: str) -> None:
    """Bring a new name to the disk, on servers that open a folder as a file: OpenSSH does."""
    with contextlib.suppress(*_CANNOT, *ABSENT):
        async with connection.file(folder, asyncssh.FXF_READ) as opened:
            await connection.sync(opened)


def _copy_mark(temporary: str) -> str:
    return f"{temporary.removesuffix('.part')}.copy"
