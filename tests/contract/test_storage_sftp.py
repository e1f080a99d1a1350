"""Proves what the SFTP storage makes of servers that lack much, refuse, hang, restart or are not known."""

import asyncio
import contextlib
import errno
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from asyncssh.constants import FXP_CLOSE, FXP_OPEN, FXP_STAT, FXP_WRITE
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ecdsa_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from service.errors import (
    NameTaken,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
)
from service.model import Part, Stored, Upload
from service.storage import Storage, parse_storage_config
from service.storage.config import SftpConfig
from service.storage.sftp import SftpStorage
from service.telemetry import configure_logging
from service.transfer import checksum_of, whole_checksum
from tests.contract.place_sftp import sftp_place
from tests.contract.places import PART, File, Place, abort_all, read
from tests.contract.test_storage_trouble import ASKING
from tests.doubles.ports import free_ports
from tests.doubles.sftp_server import EXTENSIONS, RENAMES, SftpServerDouble
from tests.doubles.ssh_keys import SshKey
from tests.doubles.sshd import OpenSSH
from tests.doubles.threaded import threaded

FILE = File()
LINK = b"hardlink@openssh.com"
SYNC = b"fsync@openssh.com"


@pytest.fixture
def double(tmp_path: Path) -> Iterator[SftpServerDouble]:
    """A server that can all and does what the test says."""
    with threaded(SftpServerDouble(tmp_path / "served")) as server:
        yield server


@pytest.fixture
def place(double: SftpServerDouble) -> Place:
    return sftp_place(double)


@asynccontextmanager
async def opened(config: Any, **limits: float) -> AsyncIterator[SftpStorage]:
    parsed = parse_storage_config(config)
    assert isinstance(parsed, SftpConfig)
    storage = SftpStorage(parsed, **limits)
    try:
        yield storage
    finally:
        await storage.close()


async def complete(storage: Storage, upload: Upload, parts: list[Part]) -> Stored:
    return await storage.complete(upload, parts, whole_checksum(parts))


# ---- the host key


@pytest.mark.parametrize("number", [0, 1, 2], ids=["ed25519", "ecdsa", "rsa"])
async def test_any_of_the_server_s_keys_may_be_the_one_that_is_known(openssh: OpenSSH, number: int) -> None:
    key = openssh.host_keys[number]
    for known in (
        {"host_key_fingerprint": key.fingerprint},
        {"host_key_fingerprint": None, "known_hosts": key.known_as("127.0.0.1", openssh.port)},
        {
            "host_key_fingerprint": None,
            "known_hosts": key.known_as("127.0.0.1", openssh.port, is_hashed=True),
        },
    ):
        async with opened(openssh.storage_config("known", **known)) as storage:
            assert await storage.stat("nothing") is None
            assert await storage.stat("nothing") is None


def other_keys() -> dict[str, Callable[[OpenSSH], dict[str, Any]]]:
    other = SshKey(Ed25519PrivateKey.generate())

    def revoked(server: OpenSSH) -> dict[str, Any]:
        lines = [key.known_as("127.0.0.1", server.port) for key in server.host_keys]
        return {"known_hosts": "".join(["@revoked " + line for line in lines] + lines)}

    return {
        "another fingerprint": lambda _server: {"host_key_fingerprint": other.fingerprint},
        "another key": lambda server: {"known_hosts": other.known_as("127.0.0.1", server.port)},
        "another host": lambda server: {"known_hosts": server.host_keys[0].known_as("elsewhere")},
        "revoked": revoked,
    }


@pytest.mark.parametrize("known", other_keys().values(), ids=other_keys())
async def test_a_server_with_another_key_is_told_nothing(
    openssh: OpenSSH, known: Callable[[OpenSSH], dict[str, Any]]
) -> None:
    fields = {"host_key_fingerprint": None, "username": "nobody-in-particular"} | known(openssh)
    async with opened(openssh.storage_config("unknown", **fields)) as storage:
        for operation in ("begin", "stat", "put_part"):
            with pytest.raises(StorageRefused) as refused:
                await ASKING[operation](storage)

    (field,) = {"host_key_fingerprint", "known_hosts"} & {name for name, value in fields.items() if value}
    assert field in refused.value.mend
    if "@revoked" not in str(fields):
        assert any(key.fingerprint in str(refused.value) for key in openssh.host_keys)
    assert "nobody-in-particular" not in openssh.log()


async def test_a_kind_of_key_that_the_server_has_not_is_told(double: SftpServerDouble) -> None:
    known = SshKey(ecdsa_key(SECP256R1())).known_as("127.0.0.1", double.port)
    config = double.storage_config("", host_key_fingerprint=None, known_hosts=known)
    async with opened(config) as storage:
        with pytest.raises(StorageRefused, match="in common") as refused:
            # The server sees it too, and may hang up before the client has said it.
            await settled(storage.stat, "nothing")
    assert "known_hosts" in refused.value.mend


async def test_a_key_taken_at_first_use_is_told_loudly_and_held_to(tmp_path: Path) -> None:
    with OpenSSH() as server:
        config = server.storage_config("", host_key_fingerprint=None, trust_host_key="first_use")
        async with opened(config) as storage:
            with capture_logs() as logs:
                await storage.stat("nothing")
            server.restart()
            with capture_logs() as logs_again:
                await asyncio.sleep(0)
                await settled(storage.stat, "nothing")
            first, second = logs[0], logs_again[0]
            assert first == second
            assert (first["event"], first["log_level"]) == ("host_key_taken_unchecked", "warning")
            assert first["fingerprint"] == server.host_keys[0].fingerprint

            server.change_host_keys()
            with pytest.raises(StorageRefused, match="another than at first") as refused:
                await settled(storage.stat, "nothing")
            assert server.host_keys[0].fingerprint in str(refused.value)


async def settled(call: Callable[..., Any], *given: Any) -> Any:
    """The answer, or the refusal, once a connection that was cut has been noticed."""
    for _ in range(50):
        with contextlib.suppress(StorageUnavailable):
            return await call(*given)
        await asyncio.sleep(0.02)
    return await call(*given)


# ---- the login


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_a_password_is_given_in_whichever_way_it_is_asked_for(
    double: SftpServerDouble, method: str
) -> None:
    double.asks_for_password = method
    async with opened(double.storage_config("", auth_method="PASSWORD")) as storage:
        assert await storage.stat("nothing") is None
    assert double.passwords_given == [double.password]


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_a_wrong_password_is_refused_with_what_to_mend_and_given_once(
    double: SftpServerDouble, method: str
) -> None:
    double.asks_for_password = method
    async with opened(double.storage_config("", password="wr0ngmark")) as storage:
        with pytest.raises(StorageRefused) as refused:
            await storage.stat("nothing")
    assert "password" in refused.value.mend
    assert "username" in refused.value.mend
    assert "wr0ngmark" not in str(refused.value) + refused.value.mend
    assert double.passwords_given == ["wr0ngmark"]


@pytest.mark.parametrize("operation", ASKING)
async def test_a_wrong_key_is_refused_with_what_to_mend(openssh: OpenSSH, operation: str) -> None:
    other = SshKey(Ed25519PrivateKey.generate())
    async with opened(openssh.storage_config("", private_key=other.private())) as storage:
        with pytest.raises(StorageRefused) as refused:
            await ASKING[operation](storage)
    assert "private_key" in refused.value.mend


async def test_a_server_that_has_had_enough_of_wrong_keys_is_a_refusal_too() -> None:
    other = SshKey(Ed25519PrivateKey.generate())
    with OpenSSH("MaxAuthTries 1") as server:
        async with opened(server.storage_config("", private_key=other.private())) as storage:
            with pytest.raises(StorageRefused) as refused:
                await storage.stat("nothing")
    assert "private_key" in refused.value.mend


async def test_a_key_with_a_passphrase_logs_in(openssh: OpenSSH) -> None:
    locked = openssh.key.private(passphrase="geheim")
    config = openssh.storage_config("", auth_method=None, private_key=locked, password="geheim")
    async with opened(config) as storage:
        assert await storage.stat("nothing") is None


async def test_a_process_whose_user_has_no_name_logs_in(
    openssh: OpenSSH, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = openssh.storage_config("")

    def nobody(number: int) -> None:
        raise KeyError(number)

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    async with opened(config) as storage:
        assert await storage.stat("nothing") is None
    monkeypatch.setenv("USER", "so that it is removed again")


# ---- the way there


@pytest.mark.parametrize("operation", ASKING)
async def test_a_server_that_is_not_there_is_unavailable(double: SftpServerDouble, operation: str) -> None:
    (port,) = free_ports(1)
    async with opened(double.storage_config("", port=port)) as storage:
        with pytest.raises(StorageUnavailable) as unavailable:
            await ASKING[operation](storage)
    assert "port" in unavailable.value.mend


async def test_a_name_that_nobody_knows_is_unavailable(double: SftpServerDouble) -> None:
    async with opened(double.storage_config("", host="nobody.invalid")) as storage:
        with pytest.raises(StorageUnavailable) as unavailable:
            await storage.stat("nothing")
    assert "host" in unavailable.value.mend


@pytest.mark.parametrize(
    ("greeting", "expected"),
    [
        (None, "does not answer"),
        (b"220 files.example.com FTP server ready\r\n" * 2000, "Too many banner lines"),
        (b"SSH-1.5-old\r\n", "Unsupported SSH version"),
        (b"Exceeded MaxStartups\r\n", "too many connections"),
        (b"", "too many connections"),
    ],
)
async def test_what_is_not_an_ssh_server_is_unavailable(
    double: SftpServerDouble, greeting: bytes | None, expected: str
) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting is None:
            await reader.read()
        else:
            writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened(double.storage_config("", port=port), login_s=2) as storage:
            with pytest.raises(StorageUnavailable, match=expected) as unavailable:
                await storage.stat("nothing")
    assert isinstance(unavailable.value, StorageThrottled) == (expected == "too many connections")


async def test_a_server_that_takes_no_more_connections_asks_for_fewer() -> None:
    with OpenSSH("MaxStartups 1") as server:
        async with opened(server.storage_config("")) as storage:
            with contextlib.ExitStack() as held:
                greeting = b""
                while greeting != b"SSH-":  # the one that looked whether it runs may still count
                    waiting = held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                    greeting = waiting.recv(4)
                with pytest.raises(StorageThrottled) as throttled:
                    await storage.stat("nothing")
            assert await settled(storage.stat, "nothing") is None
    assert "MaxStartups" in throttled.value.mend


@pytest.mark.parametrize("command", ["/bin/echo hello", "/bin/false"])
async def test_an_account_that_starts_something_else_is_told_so(command: str) -> None:
    with OpenSSH(f"ForceCommand {command}") as server:
        async with opened(server.storage_config("")) as storage:
            with pytest.raises(StorageError) as failed:
                await storage.stat("nothing")
    assert "server" in failed.value.mend or "internal-sftp" in failed.value.mend


async def test_an_account_without_sftp_is_told_so(double: SftpServerDouble) -> None:
    double.has_sftp = False
    async with opened(double.storage_config("")) as storage:
        with pytest.raises(StorageRefused, match="has no SFTP"):
            await storage.stat("nothing")


async def test_parts_share_what_connections_the_server_gives(double: SftpServerDouble, place: Place) -> None:
    file = File(6 * PART)
    for most, used in ((100, range(2, 5)), (1, range(1, 2))):
        double.most, double.connections_ever = most, 0
        async with place.open() as storage:
            await storage.stat(file.key)
            for _ in range(3):
                await file.store(storage)
                await storage.remove(file.key)
        assert double.connections_ever in used
    assert double.turned_away <= 3  # and it is not pressed with every part


# ---- folders and names


async def test_a_path_counts_from_where_the_account_lands(openssh: OpenSSH) -> None:
    for path, folder in (
        ("/", openssh.root),
        ("", openssh.root),
        ("~/below", openssh.root / "below"),
        (str(openssh.root / "absolute"), openssh.root / "absolute"),
    ):
        async with opened(openssh.storage_config(path)) as storage:
            await File(10, key="landed/call.mp4").put(storage)
            assert (folder / "landed/call.mp4").read_bytes() == File(10).body
            await storage.remove("landed/call.mp4")


async def test_two_make_the_same_missing_folders_at_once(place: Place) -> None:
    files = [File(10, key=f"one/after/another/{number}.mp4", seed=number) for number in range(8)]
    async with place.open() as first, place.open() as second:
        await asyncio.gather(*(file.begin((first, second)[file.seed % 2]) for file in files))
    assert place.sessions() == len(files)


@pytest.mark.parametrize("path", ["/proc/not/here", "a-file/below"])
async def test_a_folder_that_cannot_be_made_is_refused(openssh: OpenSSH, path: str) -> None:
    (openssh.root / "a-file").write_text("not a folder")
    async with opened(openssh.storage_config(path)) as storage:
        for operation in ("begin", "put"):
            with pytest.raises(StorageRefused) as refused:
                await ASKING[operation](storage)
    assert "path" in refused.value.mend


async def test_a_folder_under_the_name_is_left_as_it_is(openssh: OpenSSH) -> None:
    place = sftp_place(openssh)
    async with place.open() as storage:
        await File(10, key=f"{FILE.key}/inside.mp4").put(storage)
        with pytest.raises(NameTaken):
            await FILE.store(storage)
        with pytest.raises(NameTaken):
            await FILE.put(storage)
        with pytest.raises(NameTaken):
            await read(storage, FILE.key)
    assert place.objects() == {f"{FILE.key}/inside.mp4": 10}


async def test_orphans_are_found_in_a_folder_of_many(place: Place, double: SftpServerDouble) -> None:
    async with place.open() as storage:
        await FILE.begin(storage)
        folder = next(double.root.rglob("*.part")).parent
        for number in range(300):
            (folder / f"{number}.mp4").touch()
        (folder / "undecodable-\udcff.mp4").touch()
        assert await abort_all(storage, FILE.key) == 1
    assert place.sessions() == 0


# ---- giving a file its name


@pytest.mark.parametrize("denied", ["hardlink", "rename,posix-rename", "hardlink,rename,posix-rename"])
async def test_what_the_server_denies_is_done_without(denied: str) -> None:
    with OpenSSH(sftp=f"-P {denied}") as server:
        place = sftp_place(server)
        async with place.open() as storage:
            await FILE.store(storage)
            other = File(FILE.size, artifact_id="another/video", seed=2)
            with pytest.raises(NameTaken):
                await other.store(storage)
            with pytest.raises(NameTaken):
                await other.put(storage)
            assert await read(storage, FILE.key) == FILE.body
            await other.put(storage, replace=True)
            assert await read(storage, FILE.key) == other.body
    assert set(place.objects()) <= {FILE.key}


async def test_an_account_that_may_not_delete_archives_nevertheless() -> None:
    with OpenSSH(sftp="-P remove") as server:
        place = sftp_place(server)
        async with place.open() as storage:
            await FILE.store(storage)
            assert await read(storage, FILE.key) == FILE.body


@pytest.mark.parametrize(
    "lacks", [frozenset(), EXTENSIONS, EXTENSIONS | RENAMES], ids=["all", "bare", "no names"]
)
@pytest.mark.parametrize("ends_in", ["complete", "abort", "all aborted"])
async def test_a_connection_cut_at_any_request_of_completing_does_no_harm(
    tmp_path: Path, lacks: frozenset[bytes | int], ends_in: str
) -> None:
    file, left = File(300_000), 0
    with threaded(SftpServerDouble(tmp_path, lacks=lacks)) as server:

        def cut(_kind: bytes | int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                server.cut()

        server.on_request = cut
        place = sftp_place(server)
        for requests in count(1):
            async with place.open() as storage:
                upload = await file.begin(storage)
                parts = await file.send_all(storage, upload)
                left = requests
                try:
                    await complete(storage, upload, parts)
                except StorageUnavailable:
                    was_cut = True
                else:
                    was_cut = False
                left = 0
                if ends_in == "complete":
                    await settled(complete, storage, upload, parts)
                elif ends_in == "abort":
                    await settled(storage.abort, upload)
                else:
                    await settled(abort_all, storage, file.key)
                if file.key in place.objects():
                    assert await settled(read, storage, file.key) == file.body
                    await storage.remove(file.key)
                else:
                    assert ends_in != "complete"
            assert place.sessions() == 0
            assert place.objects() == {}
            if not was_cut:
                return


async def test_a_name_taken_while_the_file_is_given_it_is_left_as_it_is(
    double: SftpServerDouble, place: Place
) -> None:
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)
        (temporary,) = double.root.rglob("*.part")

        def take(kind: bytes | int) -> None:
            if kind == LINK:
                (temporary.parent / FILE.key).write_bytes(b"theirs")

        double.on_request = take
        with pytest.raises(NameTaken):
            await complete(storage, upload, parts)
        assert await read(storage, FILE.key) == b"theirs"


# ---- what a receipt is worth


async def test_a_part_that_the_server_synced_counts_while_the_file_is_long_enough(
    double: SftpServerDouble, place: Place
) -> None:
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)
        (temporary,) = double.root.rglob("*.part")
        double.requests.clear()

        assert await storage.confirm(upload, parts) == {1, 2}
        assert not double.requests[FXP_OPEN]  # it is not read back

        with temporary.open("r+b") as file:
            file.truncate(PART)
        assert await storage.confirm(upload, parts) == {1}
        with temporary.open("r+b") as file:
            file.truncate(PART - 1)
        assert await storage.confirm(upload, parts) == set()


async def test_a_part_that_the_server_did_not_sync_is_read_back(bare_sftp: SftpServerDouble) -> None:
    place = sftp_place(bare_sftp)
    async with place.open() as storage:
        file = File(3 * PART)
        upload = await file.begin(storage)
        parts = await file.send_all(storage, upload)
        (temporary,) = (bare_sftp.root / str(place.config["path"])).rglob("*.part")
        with temporary.open("r+b") as damaged:
            damaged.seek(PART + 100)
            damaged.write(bytes(16))

        assert await storage.confirm(upload, parts) == {1, 3}


async def test_a_part_that_cannot_be_synced_gets_no_receipt(double: SftpServerDouble, place: Place) -> None:
    double.refused[SYNC] = errno.EIO
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        with pytest.raises(StorageUnavailable):
            await FILE.send(storage, upload, 1)


# ---- refusals


async def test_a_read_only_account_is_refused_with_what_to_mend() -> None:
    with OpenSSH(sftp="-R") as server:
        async with opened(server.storage_config("")) as storage:
            for operation in ("begin", "put"):
                with pytest.raises(StorageRefused) as refused:
                    await ASKING[operation](storage)
                assert "path" in refused.value.mend
            assert await storage.stat("nothing") is None


@pytest.mark.parametrize("kind", [FXP_OPEN, FXP_STAT, FXP_CLOSE])
async def test_a_permission_denied_is_refused(double: SftpServerDouble, place: Place, kind: int) -> None:
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)
        double.refused[kind] = errno.EACCES
        with pytest.raises(StorageRefused) as refused:
            await complete(storage, upload, parts)
        assert "path" in refused.value.mend
        if kind != FXP_STAT:
            with pytest.raises(StorageRefused):
                await FILE.send(storage, upload, 1)
        double.refused.clear()
        assert (await complete(storage, upload, parts)).size == FILE.size


async def test_a_full_disk_is_told_from_another_failure(double: SftpServerDouble, place: Place) -> None:
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        double.refused[FXP_WRITE] = errno.EIO
        with pytest.raises(StorageUnavailable):
            await FILE.send(storage, upload, 1)
        double.refused.clear()

        double.room = PART // 2
        for call in (FILE.send(storage, upload, 1), FILE.put(storage)):
            with pytest.raises(StorageRefused, match="no room left") as refused:
                await call
            assert "make room" in refused.value.mend
        assert place.sessions() == 1
        double.room = None
        parts = await FILE.send_all(storage, upload)
        await complete(storage, upload, parts)
        assert await read(storage, FILE.key) == FILE.body


# ---- servers that hang and go


async def test_a_server_that_answers_nothing_is_left_and_asked_anew(
    double: SftpServerDouble, place: Place
) -> None:
    async with opened(place.config, silence_s=1, login_s=2) as storage:
        upload = await settled(FILE.begin, storage)
        double.is_silent = True
        for call in (
            FILE.send(storage, upload, 1),
            storage.stat(FILE.key),
            read(storage, FILE.key),
            FILE.put(storage),
        ):
            async with asyncio.timeout(20):
                with pytest.raises(StorageUnavailable):
                    await call
        double.is_silent = False
        before = double.connections_ever
        parts = await settled(FILE.send_all, storage, upload)
        assert double.connections_ever > before
        await settled(complete, storage, upload, parts)
        assert await settled(read, storage, FILE.key) == FILE.body


async def test_a_real_server_that_stands_still_is_unavailable() -> None:
    with OpenSSH() as server:
        async with opened(server.storage_config(""), silence_s=1, login_s=2) as storage:
            upload = await settled(FILE.begin, storage)
            with server.held():
                async with asyncio.timeout(20):
                    with pytest.raises(StorageUnavailable):
                        await FILE.send(storage, upload, 1)
                    with pytest.raises(StorageUnavailable):
                        await FILE.send(storage, upload, 1)
            parts = [await settled(FILE.send, storage, upload, number) for number in FILE.numbers]
            await settled(complete, storage, upload, parts)
            assert await settled(read, storage, FILE.key) == FILE.body


async def test_a_server_that_is_not_asked_anything_may_be_silent(
    double: SftpServerDouble, place: Place
) -> None:
    async with opened(place.config, silence_s=1) as storage:
        await storage.stat("nothing")
        await asyncio.sleep(1.5)
        await storage.stat("nothing")
    assert double.connections_ever == 1


async def test_a_connection_without_use_is_closed_and_one_in_use_is_not(
    double: SftpServerDouble, place: Place
) -> None:
    async with opened(place.config, idle_s=1) as storage:
        await FILE.put(storage)
        blocks = storage.read(FILE.key)
        begin = await anext(blocks)
        await asyncio.sleep(1.5)
        rest = [block async for block in blocks]
        assert b"".join([begin, *rest]) == FILE.body
        assert double.connections_ever == 1
        while double.connections:  # noqa: ASYNC110 - it is in another thread
            await asyncio.sleep(0.01)
        await storage.stat("nothing")
        assert double.connections_ever == 2


async def test_parts_go_on_after_the_server_restarted() -> None:
    file = File(4 * PART)
    with OpenSSH() as server:
        place = sftp_place(server)
        async with place.open() as storage:
            upload = await file.begin(storage)
            first = await file.send(storage, upload, 1)
            server.restart()
            second = await settled(file.send, storage, upload, 2)
            third = asyncio.create_task(file.send(storage, upload, 3))
            await asyncio.sleep(0)
            server.restart()
            await asyncio.wait([third])
            kept = [first, second] + ([] if third.exception() else [third.result()])
            assert await settled(storage.confirm, upload, kept) == {part.number for part in kept}
            rest = [await file.send(storage, upload, number) for number in file.numbers[len(kept) :]]
            await complete(storage, upload, kept + rest)
            assert await read(storage, file.key) == file.body
        assert place.sessions() == 0


# ---- cancellation, and what is left


@pytest.mark.parametrize("writes", [1, 2, 5, 20])
async def test_memory_is_not_read_any_more_after_a_part_is_cancelled(
    double: SftpServerDouble, place: Place, writes: int
) -> None:
    loop, memory = asyncio.get_running_loop(), bytearray(b"\1") * PART
    begun = asyncio.Event()

    def note(kind: bytes | int) -> None:
        if kind == FXP_WRITE and double.requests[FXP_WRITE] == writes:
            loop.call_soon_threadsafe(begun.set)

    double.on_request = note
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        view = memoryview(memory)
        sending = asyncio.create_task(storage.put_part(upload, 1, view, checksum_of(view)))
        await begun.wait()
        sending.cancel()
        await asyncio.wait([sending])
        memory[:] = b"\2" * PART
    (temporary,) = double.root.rglob("*.part")
    assert sending.cancelled()
    assert b"\2" not in temporary.read_bytes()


async def test_whatever_is_opened_on_the_server_is_closed_again(
    double: SftpServerDouble, place: Place
) -> None:
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        for turns in range(0, 60, 3):
            sending = asyncio.create_task(FILE.send(storage, upload, 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
        await FILE.put(storage)
        blocks = storage.read(FILE.key)
        await anext(blocks)
        assert double.open_files
        await blocks.aclose()  # type: ignore[attr-defined]  # it is a generator
        for _ in range(200):
            if not double.open_files:
                break
            await asyncio.sleep(0.01)
        assert not double.open_files


async def test_nothing_runs_on_after_closing(double: SftpServerDouble, place: Place) -> None:
    before = asyncio.all_tasks()
    storage = SftpStorage(_config(place))
    upload = await FILE.begin(storage)
    sending = [asyncio.create_task(FILE.send(storage, upload, number)) for number in (1, 2)]
    await asyncio.sleep(0.01)
    for task in sending:
        task.cancel()
    await storage.close()
    await asyncio.wait(sending)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def _config(place: Place) -> SftpConfig:
    config = parse_storage_config(place.config)
    assert isinstance(config, SftpConfig)
    return config


async def test_the_library_s_chatter_is_not_logged(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", form="json")
    async with place.open() as storage:
        await FILE.store(storage)
    logging.getLogger("asyncssh").warning("heard")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines if line.get("logger", "").startswith("asyncssh")] == ["heard"]
