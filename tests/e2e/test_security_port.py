"""The real process against those who mean it ill: odd requests, floods, slow senders, and a look around."""

import contextlib
import re
import resource
import socket
import threading
from collections.abc import Iterator

import psutil
import pytest

from service.server import CONNECTIONS, FIELDS, HEAD_LIMIT, PIPELINE
from tests.doubles.sender import Sender
from tests.e2e.deployment import Deployment

LINK = "https://10.0.0.1/rec.mp4"
GET = b"GET /healthz HTTP/1.1\r\nHost: h\r\n"
NEXT = GET + b"X-Smuggled: yes\r\n\r\n"
TOKEN = "the-token-of-the-admin-port"


@pytest.fixture(scope="module")
def deployment(sender: Sender, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("port"), sender, admin_token=TOKEN)
    with deployment.running():
        yield deployment
        # Whatever was sent: nothing went wrong by it. A slow disk's 503 is none of it.
        wrong = [line for line in deployment.lines() if line["level"] in ("error", "critical")]
        assert [line for line in wrong if "nothing was committed within" not in line["error"]] == []
        assert deployment.stop() == 0


@pytest.fixture(scope="module")
def signed(sender: Sender) -> tuple[bytes, bytes]:
    """The head of a good delivery without its framing, and its body."""
    body = sender.uploaded("signed", LINK)
    fields = "".join(f"{name}: {value}\r\n" for name, value in sender.headers(body).items())
    return b"POST /webhook HTTP/1.1\r\nHost: h\r\n" + fields.encode(), body


def connected(deployment: Deployment) -> socket.socket:
    return socket.create_connection(("127.0.0.1", deployment.port), timeout=30)


def statuses(deployment: Deployment, raw: bytes) -> list[int]:
    """The statuses of all answers until the service hangs up; fails if it does not within 30 s."""
    received = b""
    with connected(deployment) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(raw)
        while piece := connection.recv(65536):
            received += piece
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


# ---- requests that are none, or two


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 4\r\nContent-Length: 5\r\n", b"aaaa"),
        (b"Content-Length: 4\r\nContent-Length: 4\r\n", b"aaaa"),
        (b"Content-Length: 4, 4\r\n", b"aaaa"),
        (b"Content-Length: +4\r\n", b"aaaa"),
        (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        (b"X-A: a\r\n Content-Length: 3\r\nContent-Length: 2\r\n", b"{}"),
        (b"X-A: a\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"{}"),
        (b" Content-Length: 2\r\n", b"{}"),
        (b"X-A: a\x00b\r\nContent-Length: 2\r\n", b"{}"),
        (b"X-A: a\rContent-Length: 2\r\n", b"{}"),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"0x2\r\n{}\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffffff\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}xx0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"2\n{}\n0\n\n"),
        (b"Transfer-Encoding: chunked\r\n", b"2 ;\x00\r\n{}\r\n0\r\n\r\n"),
    ],
)
def test_a_request_whose_end_can_be_told_in_two_ways_is_refused_and_the_connection_ended(
    deployment: Deployment, signed: tuple[bytes, bytes], framing: bytes, body: bytes
) -> None:
    # What follows is no request of its own: one answer, to all of it.
    assert statuses(deployment, signed[0] + framing + b"\r\n" + body + NEXT) == [400]


@pytest.mark.parametrize(
    ("raw", "allowed"),
    [
        (b"BREW /webhook HTTP/1.1\r\nHost: h\r\n\r\n", {400}),
        (b"DELETE /webhook HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {405}),
        (b"TRACE /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {405}),
        (b"CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: h\r\n\r\n", {400}),
        (b"GET http://10.0.0.1/healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {200}),
        (b"GET http://[::1/healthz HTTP/1.1\r\nHost: h\r\n\r\n", {400}),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {404}),
        (b"GET healthz HTTP/1.1\r\nHost: h\r\n\r\n", {400}),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {400}),
        (b"GET /%ff%00/../healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {404}),
        (b"GET /healthz HTTP/1.0\r\n\r\n", {200}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400}),
        (GET + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", {200}),
        (GET + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n", {200}),
        (b"GET /" + b"a" * 4 * HEAD_LIMIT + b" HTTP/1.1\r\nHost: h\r\n\r\n", {400, None}),
        (GET + b"X: " + b"a" * 4 * HEAD_LIMIT + b"\r\n\r\n", {400, None}),
        (GET + b"X: a\r\n" * FIELDS + b"\r\n", {400}),
        (GET + b"X: a\r\n" * 500_000 + b"\r\n", {400, None}),
        (b"\r\n" * 200_000, {400, None}),
    ],
)  # fmt: skip
def test_an_odd_request_is_answered_or_cut_off(
    deployment: Deployment, raw: bytes, allowed: set[int | None]
) -> None:
    answers = statuses(deployment, raw)
    assert (answers[0] if answers else None) in allowed
    assert len(answers) <= 1


def test_a_delivery_over_http_1_0_is_taken(deployment: Deployment, sender: Sender) -> None:
    body = sender.uploaded("old", LINK)
    fields = "".join(f"{name}: {value}\r\n" for name, value in sender.headers(body).items())
    head = f"POST /webhook HTTP/1.0\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode()
    assert statuses(deployment, head + body) == [200]


def test_more_requests_at_once_than_anybody_needs_are_not_queued(deployment: Deployment) -> None:
    assert len(statuses(deployment, (GET + b"\r\n") * 20_000)) <= PIPELINE + 2


# ---- floods


def test_good_deliveries_pass_while_a_flood_of_slow_senders_goes_on(
    deployment: Deployment, sender: Sender, signed: tuple[bytes, bytes]
) -> None:
    process = psutil.Process(deployment.pid)
    limits = resource.prlimit(deployment.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(deployment.pid, resource.RLIMIT_NOFILE, (min(1024, limits[1]), limits[1]))
    openings = [
        b"", GET + b"X-Slow: ", signed[0] + b"Content-Length: 1000\r\n\r\n{", GET + b"\r\n",
        signed[0] + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n{", GET + b"Content-Length: 9\r\n\r\n",
    ]  # fmt: skip
    over = threading.Event()
    opened = [0]

    def flood() -> None:
        held: list[socket.socket] = []
        while not over.is_set():
            while len(held) < CONNECTIONS * 3 // 2 and not over.is_set():
                with contextlib.suppress(OSError):
                    held.append(connected(deployment))
                    held[-1].sendall(openings[opened[0] % len(openings)])
                    held[-1].settimeout(0)
                    opened[0] += 1
            for connection in held[:]:
                try:
                    connection.send(b"x")
                except OSError:
                    held.remove(connection)
                    connection.close()
            over.wait(0.2)
        for connection in held:
            connection.close()

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        deployment.wait_until(lambda: opened[0] > CONNECTIONS * 3 // 2)
        for number in range(15):
            # As the provider does it: once more, should the machine have no time for it.
            body = sender.uploaded(f"in-the-flood-{number}", LINK)
            assert 200 in (deployment.deliver(body) for _ in range(5)), number
        assert deployment.answer(deployment.admin_port, "/readyz")[0] == 200
        assert len(held_by(process, deployment.port)) <= CONNECTIONS + 100
    finally:
        over.set()
        flooding.join()
    deployment.wait_until(lambda: not held_by(process, deployment.port))
    assert statuses(deployment, GET + b"Connection: close\r\n\r\n") == [200]


def held_by(process: psutil.Process, port: int) -> list[object]:
    """The connections to this port that the process has open."""
    every = process.net_connections("tcp")
    return [each for each in every if each.laddr.port == port and each.status != psutil.CONN_LISTEN]


# ---- the two ports


def test_neither_port_has_anything_of_the_other(deployment: Deployment, signed: tuple[bytes, bytes]) -> None:
    for path in ("/", "/metrics", "/readyz", "/api", "/api/recordings", "/docs", "/healthz/../metrics"):
        assert deployment.answer(deployment.port, path)[0] == 404, path
    head, body = signed
    raw = head + b"Authorization: Bearer %s\r\nConnection: close\r\n" % TOKEN.encode()
    raw += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_connection(("127.0.0.1", deployment.admin_port), timeout=30) as connection:
        connection.sendall(raw)
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_the_admin_port_asks_for_its_token(deployment: Deployment) -> None:
    for path, bare in (("/metrics", 401), ("/", 401), ("/api", 401), ("/healthz", 200), ("/readyz", 200)):
        assert deployment.answer(deployment.admin_port, path)[0] == bare, path
    with socket.create_connection(("127.0.0.1", deployment.admin_port), timeout=30) as connection:
        connection.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n"
            % TOKEN.encode()
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
