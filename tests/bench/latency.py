"""How fast deliveries are answered while recordings move.

Deliveries are sent when they are due, whether or not earlier ones were answered: a service that stalls does
not slow its callers down, and the answer times show the stall. They are signed beforehand and sent by a
process of its own, so that neither signing nor feeding recordings delays a sender.
"""

import asyncio
import concurrent.futures
import contextlib
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles

import aiohttp

from tests.bench.contestants import TIMEOUT_SECONDS
from tests.bench.deliveries import Delivery, Signer
from tests.bench.race import Route
from tests.bench.samples import Sample
from tests.bench.service import Deployment, Service, manifest_of
from tests.bench.storage import Bucket, Storage, bucket

PER_SECOND = 50
SECONDS = 20
RECORDINGS_MOVING = 4


@dataclass(frozen=True)
class Answers:
    """Milliseconds from sending a delivery to its answer; `late_p99_ms`: how late it was sent."""

    case: str
    sent: int
    refused: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float
    moved_gb: float


def measure_latency(deployment: Deployment, storage: Storage, route: Route, sample: Sample) -> list[Answers]:
    """The same load on an idle service, and with four recordings moving at any time."""
    signer, link = deployment.signer, f"{route.source_url}/{sample.name}"
    with (
        bucket(storage, "latency") as target,
        deployment.running(endpoint_url=route.endpoint_url, bucket=target.name) as service,
    ):
        idle = _load(signer, service, "idle", moved_bytes=[0])
        with _recordings_moving(signer, service, target, link, sample) as moved:
            busy = _load(signer, service, f"{RECORDINGS_MOVING} x {sample.label} moving", moved_bytes=moved)
    return [idle, busy]


def _load(signer: Signer, service: Service, case: str, *, moved_bytes: list[int]) -> Answers:
    deliveries = [signer.recording() for _ in range(PER_SECOND * SECONDS)]
    before = moved_bytes[0]
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as sender:
        results = sender.submit(_send_all, service.webhook_url, deliveries, PER_SECOND).result()
    answered = sorted(milliseconds for status, milliseconds, _ in results if 200 <= status < 300)
    if not answered:
        raise SystemExit(f"no delivery was accepted; first answer: {results[0]}")
    return Answers(
        case=case,
        sent=len(results),
        refused=len(results) - len(answered),
        p50_ms=_percentile(answered, 50),
        p99_ms=_percentile(answered, 99),
        max_ms=answered[-1],
        late_p99_ms=_percentile([late for _, _, late in results], 99),
        moved_gb=(moved_bytes[0] - before) / 1e9,
    )


def _send_all(url: str, deliveries: Sequence[Delivery], per_second: int) -> list[tuple[int, float, float]]:
    """Status, milliseconds to the answer, and lateness of each. Runs in the sender's process."""
    return asyncio.run(_send_when_due(url, deliveries, per_second))


async def _send_when_due(
    url: str, deliveries: Sequence[Delivery], per_second: int
) -> list[tuple[int, float, float]]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        start = time.perf_counter() + 0.5

        async def send(number: int, delivery: Delivery) -> tuple[int, float, float]:
            due = start + number / per_second
            await asyncio.sleep(due - time.perf_counter())
            sent = time.perf_counter()
            async with session.post(url, data=delivery.body, headers=delivery.headers) as answer:
                await answer.read()
            return answer.status, (time.perf_counter() - sent) * 1e3, (sent - due) * 1e3

        return await asyncio.gather(*(send(number, delivery) for number, delivery in enumerate(deliveries)))


@contextlib.contextmanager
def _recordings_moving(
    signer: Signer, service: Service, target: Bucket, link: str, sample: Sample
) -> Iterator[list[int]]:
    """Keep several recordings under way until the block ends; yields the bytes archived, a list of one."""
    done, moved = threading.Event(), [0]

    def feed(lane: int) -> None:
        number = 0
        while not done.is_set():
            name = f"{lane}-{number}-{sample.name}"
            service.deliver(signer.uploaded(file_name=name, link=link, size_bytes=sample.size_bytes))
            target.wait_for(manifest_of(name), process=service.process, timeout_s=TIMEOUT_SECONDS)
            moved[0] += sample.size_bytes
            number += 1

    with concurrent.futures.ThreadPoolExecutor(RECORDINGS_MOVING) as lanes:
        feeding = [lanes.submit(feed, lane) for lane in range(RECORDINGS_MOVING)]
        try:
            yield moved
        finally:
            done.set()
    for lane in feeding:
        lane.result()


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]
