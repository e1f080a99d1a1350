"""What an SFTP server's refusals mean, told once."""

import contextlib
import re

import asyncssh

from service.errors import StorageError, StorageRefused, StorageUnavailable, UploadLost
from service.storage.sftp_connection import Connection

ABSENT = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)
"""What servers answer if a file, or a folder on its way, is not there."""

_FORBIDDEN = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect, asyncssh.SFTPCannotDelete)
_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_FULL_TEXT = re.compile(r"\bspace\b|quota|disk full", re.IGNORECASE)


async def explained(
    connection: Connection, error: asyncssh.SFTPError, *, folder: str, writes: int
) -> StorageError:
    """The family of a server's answer, and what to mend.

    Version 3 of the protocol has no word for a full disk: OpenSSH answers "Failure", as it does to much else.
    So after that, if ``writes`` bytes were to be written to ``folder``, it is asked how much room there is.
    """
    if isinstance(error, ABSENT):
        return UploadLost(error.reason)
    if isinstance(error, _FORBIDDEN):
        return StorageRefused(
            error.reason, mend="let the account list the folder (path), and write, rename and delete in it"
        )
    if isinstance(error, _FULL) or _FULL_TEXT.search(error.reason):
        return _full(error)
    if isinstance(error, asyncssh.SFTPOpUnsupported):
        return StorageRefused(
            f"the server cannot do what it takes: {error.reason}",
            mend="use a server that writes at any place of a file, as OpenSSH's does",
        )
    if writes and isinstance(error, asyncssh.SFTPFailure) and not await _has_room(connection, folder, writes):
        return _full(error)
    return StorageUnavailable(
        f"the server answered: {error.reason}",
        mend="look into its log; an exhausted quota can look like this",
    )


def _full(error: asyncssh.SFTPError) -> StorageRefused:
    return StorageRefused(
        f"the server has no room left: {error.reason}", mend="make room there, or raise the account's quota"
    )


async def _has_room(connection: Connection, folder: str, size: int) -> bool:
    with contextlib.suppress(asyncssh.Error, OSError):
        found = await connection.ask(connection.sftp.statvfs(folder or "."))
        return found.bavail * found.frsize >= size and (found.favail > 0 or not found.files)
    return True
