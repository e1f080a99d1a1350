"""Proves that what is done beside the worker goes on after a fault of ours, and ends with the process."""

import asyncio
import contextlib

from structlog.testing import capture_logs

from service.enduring import kept_up
from tests.unit.moving import at_once


def test_a_job_that_breaks_off_is_begun_again_and_said() -> None:
    async def run() -> list[float]:
        clock = asyncio.get_running_loop().time
        began: list[float] = []

        async def job() -> None:
            began.append(clock())
            await asyncio.sleep(5)
            raise ZeroDivisionError("ours")

        async with contextlib.AsyncExitStack() as resources:
            kept_up(resources, job)
            await asyncio.sleep(190)
        return began

    with capture_logs() as logs:
        began = at_once(run())

    assert began == [0, 65, 130]
    assert [line["event"] for line in logs] == ["task_broke_off"] * 3
    assert {line["log_level"] for line in logs} == {"error"}


def test_it_ends_with_the_process_also_in_its_pause() -> None:
    async def run() -> list[str]:
        told: list[str] = []

        async def job() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)
                told.append("tidied")

        async def broken() -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError

        async with contextlib.AsyncExitStack() as resources:
            for each in (job, broken):
                kept_up(resources, each)
            await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == 1
        return told

    with capture_logs():
        assert at_once(run()) == ["tidied"]
