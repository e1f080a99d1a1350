"""What is done beside the worker goes on after a fault, and tasks end before who began them."""

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from service.enduring import all_of, kept_up
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


async def test_all_run_at_once_and_their_results_come_in_order() -> None:
    second_is_on = asyncio.Event()

    async def first() -> str:
        await second_is_on.wait()
        return "first"

    async def second() -> str:
        second_is_on.set()
        return "second"

    assert await all_of([first(), second()]) == ["first", "second"]
    assert await all_of([]) == []


async def test_the_first_failure_ends_the_others_and_the_caller_does_not_count_as_cancelled() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("slow")
            raise KeyError

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await all_of([slow(), failing(), slow()])

    assert ended == ["slow", "slow"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_caller_that_is_cancelled_ends_after_all_that_it_began() -> None:
    began, ended = asyncio.Event(), list[str]()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    calling = asyncio.ensure_future(all_of([work(), work()]))
    await began.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert ended == ["work", "work"]


async def test_work_that_ends_as_cancelled_does_not_count_as_done() -> None:
    async def broken_off() -> None:
        raise asyncio.CancelledError

    async def done() -> None: ...

    with pytest.raises(asyncio.CancelledError):
        await all_of([done(), broken_off()])
