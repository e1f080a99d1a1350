"""Connections to an SFTP server: opened when there is work, watched while asked, made anew when lost."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any, TypeVar

import asyncssh

from service.enduring import all_of
from service.errors import StorageUnavailable
from service.storage.sftp_login import Login

_CONNECTIONS = 4
"""OpenSSH takes 2 MiB ahead on each, so on a long way several carry more than one."""

_PARTS_EACH = 2
"""How many parts a connection carries before another one is opened for the next."""

_PATIENCE_S = 2.0
"""How long a part waits for that; then it takes one that there is."""

_CONTENT_S = 300.0
"""How long the server is not asked for one more, after it did not give it."""

_LEAST_BLOCK = 32 * 1024
"""What every server takes in one request (draft-ietf-secsh-filexfer-02, section 3)."""

_MOST_BLOCK = 256 * 1024
_AHEAD = 2 * 1024 * 1024
"""Bytes under way on one connection, to either side: what OpenSSH takes ahead."""

_CLOSE_S = 3.0

LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError, OSError, EOFError)
"""After these nothing more is to be had from a connection."""

_T = TypeVar("_T")


class Connection:
    """One connection with its SFTP session, given up if the server answers nothing for ``silence_s``."""

    def __init__(
        self, ssh: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, *, silence_s: float
    ) -> None:
        self.sftp = sftp
        self.users = 0
        self.used_at = 0.0
        self._ssh = ssh
        self._silence_s = silence_s
        self._read_block = min(max(sftp.limits.max_read_len, _LEAST_BLOCK), _MOST_BLOCK)
        self._write_block = min(max(sftp.limits.max_write_len, _LEAST_BLOCK), _MOST_BLOCK)
        self._slot_count = _AHEAD // self._write_block
        self._slots = asyncio.Semaphore(self._slot_count)
        self._loop = asyncio.get_running_loop()
        self._is_lost = False
        self._was_silent = False
        self._asking = 0
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def is_alive(self) -> bool:
        """Whether it may be asked something."""
        return not self._is_lost and not self._ssh.is_closed()

    async def ask(self, answer: Awaitable[_T]) -> _T:
        """The answer to a request. It, or a failure, comes within the time that the server may be silent."""
        if not self._asking:
            self._heard_at = self._loop.time()
            self._watch = self._watch or self._loop.call_later(self._silence_s, self._look_after)
        self._asking += 1
        try:
            result = await answer
        except asyncssh.SFTPError:
            self._heard_at = self._loop.time()
            raise
        finally:
            self._asking -= 1
        self._heard_at = self._loop.time()
        return result

    @contextlib.asynccontextmanager
    async def file(self, path: str, flags: int) -> AsyncIterator[asyncssh.SFTPClientFile]:
        """An open file; ``flags`` are SFTP's. Closing it tells the last of what went wrong in writing."""
        opening = asyncio.ensure_future(self.ask(self.sftp.open(path, flags, encoding=None, block_size=0)))
        try:
            file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._close_unattended(opening)
            raise
        try:
            yield file
        except BaseException:
            self._close_unattended(opening)
            raise
        await self.ask(file.close())

    async def write(self, file: asyncssh.SFTPClientFile, offset: int, body: memoryview) -> None:
        """Write with many requests under way. Once this has ended, ``body`` is not read any more."""
        starts = iter(range(0, len(body), self._write_block))

        async def lane() -> None:
            for start in starts:
                async with self._slots:
                    block: Any = body[start : start + self._write_block]  # copied into the packet at once
                    await self.ask(file.write(block, offset + start))

        await all_of(lane() for _ in range(min(self._slot_count, -(-len(body) // self._write_block))))

    async def read(self, file: asyncssh.SFTPClientFile, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` up to ``end``, in order, read ahead; fewer where the file is shorter."""
        ahead: deque[asyncio.Task[bytes]] = deque()
        try:
            while ahead or start < end:
                while start < end and len(ahead) < _AHEAD // self._read_block:
                    size = min(self._read_block, end - start)
                    ahead.append(asyncio.create_task(self._read_block_of(file, start, size)))
                    start += size
                if block := await ahead.popleft():
                    yield block
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def sync(self, file: asyncssh.SFTPClientFile) -> bool:
        """Have the server bring the file to its disk; False if it, or its file system, does not do that."""
        try:
            await self.ask(file.fsync())
        except (asyncssh.SFTPOpUnsupported, asyncssh.SFTPBadMessage):  # the latter is OpenSSH's for EINVAL
            return False
        return True

    def drop(self) -> None:
        """End it at once; whoever waits for an answer gets a failure."""
        self._is_lost = True
        self._ssh.abort()

    def failure(self, error: Exception) -> StorageUnavailable:
        """What to say of the error with which it was lost."""
        if self._was_silent:
            return StorageUnavailable(
                f"the server answered nothing for {self._silence_s:.0f} s", mend="look into the server's log"
            )
        return StorageUnavailable(getattr(error, "reason", "") or type(error).__name__)

    async def close(self) -> None:
        """End it in good order, if that takes no longer than a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*self._closing, return_exceptions=True)
                self._ssh.close()
                await self._ssh.wait_closed()
        self.drop()
        if self._watch is not None:
            self._watch.cancel()

    async def _read_block_of(self, file: asyncssh.SFTPClientFile, offset: int, size: int) -> bytes:
        read = b""
        while len(read) < size:
            more: bytes = await self.ask(file.read(size - len(read), offset + len(read)))
            if not more:
                break
            read = read + more if read else more
        return read

    def _close_unattended(self, opening: asyncio.Task[asyncssh.SFTPClientFile]) -> None:
        async def close() -> None:
            with contextlib.suppress(asyncssh.Error, OSError):
                await self.ask((await opening).close())

        task = asyncio.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _look_after(self) -> None:
        self._watch = None
        if not self._asking:
            return
        left_s = self._heard_at + self._silence_s - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look_after)
        else:
            self._was_silent = True
            self.drop()


class Connections:
    """A few connections of one account, shared by all that is asked of its storage.

    One that nobody has used for ``idle_s`` is closed.
    """

    def __init__(self, login: Login, *, silence_s: float, idle_s: float) -> None:
        self._login = login
        self._silence_s = silence_s
        self._idle_s = idle_s
        self._open: list[Connection] = []
        self._opening: list[asyncio.Task[Connection]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._content_until = 0.0

    @contextlib.asynccontextmanager
    async def one(self, *, for_a_part: bool = False) -> AsyncIterator[Connection]:
        """The connection with the least to do; one more is opened for a part if all have enough.

        Raises ``StorageUnavailable`` if it is lost meanwhile, and what the login refuses.
        """
        connection = await self._choose(for_a_part=for_a_part)
        connection.users += 1
        try:
            yield connection
        except LOST as error:
            connection.drop()
            raise connection.failure(error) from error
        finally:
            connection.users -= 1
            connection.used_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Close them all."""
        if self._sweep is not None:
            self._sweep.cancel()
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*(connection.close() for connection in self._open), *self._closing)

    async def _choose(self, *, for_a_part: bool) -> Connection:
        while True:
            self._open = [connection for connection in self._open if connection.is_alive]
            best = min(self._open, key=lambda connection: connection.users, default=None)
            if best is None:
                # Whoever comes meanwhile shares it: its failure too, and nobody's cancellation.
                await asyncio.shield(self._opening[0] if self._opening else self._begin_opening())
                continue
            if not for_a_part or best.users < _PARTS_EACH:
                return best
            if self._may_be_more():
                self._begin_opening()
            elif not self._opening:
                return best
            done, _ = await asyncio.wait(
                self._opening, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return best

    def _may_be_more(self) -> bool:
        is_time = asyncio.get_running_loop().time() >= self._content_until
        return is_time and len(self._open) + len(self._opening) < _CONNECTIONS

    def _begin_opening(self) -> asyncio.Task[Connection]:
        opening = asyncio.create_task(self._make())
        self._opening.append(opening)
        opening.add_done_callback(self._made)
        return opening

    async def _make(self) -> Connection:
        ssh, sftp = await self._login.session()
        return Connection(ssh, sftp, silence_s=self._silence_s)

    def _made(self, opening: asyncio.Task[Connection]) -> None:
        self._opening.remove(opening)
        if opening.cancelled():
            return
        if opening.exception() is None:
            self._open.append(opening.result())
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(self._idle_s, self._close_idle)
        else:
            # The server may give only so many: those there are will do.
            self._content_until = asyncio.get_running_loop().time() + _CONTENT_S

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in [connection for connection in self._open if not connection.users]:
            if loop.time() - connection.used_at >= self._idle_s:
                self._open.remove(connection)
                closing = asyncio.create_task(connection.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        self._sweep = loop.call_later(self._idle_s, self._close_idle) if self._open else None
