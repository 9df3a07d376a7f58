"""Paused queues. Checklist nos. 56 to 58."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.conftest import Both, Side


async def test_a_paused_queue_starts_nothing_ends_what_runs_and_goes_on_when_resumed(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("gate:go | ok")
        async with side.worker():
            await side.until_state("active")
            await side.call("pause")
            await side.add_all("ok", 2)
            side.open("go")
            await side.until_state("completed")
            await side.quiet(leaving=("wait", "paused"))
            assert side.runs() == ["1/1"]
            await side.call("resume")
            await side.quiet()
        assert side.runs() == ["1/1", "2/1", "3/1"]
        return side.runs()

    await both(scenario)


async def test_an_idle_worker_of_a_paused_queue_goes_on_at_once_when_it_is_resumed(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await side.add("ok")
            await side.quiet()
            await side.call("pause")
            await side.add("ok")
            await asyncio.sleep(0.2)
            assert side.runs() == ["1/1"]
            await side.call("resume")
            await asyncio.wait_for(side.until_state("completed", 2), 2)
            await side.quiet()
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("resumed_by", [5, 6])
async def test_jobs_of_a_pause_by_an_older_application_all_run_after_it(both: Both, resumed_by: int) -> None:
    async def scenario(side: Side) -> list[str]:
        side.major = 5
        await side.add_all("ok", 2)
        await side.call("pause")
        await side.add_all("ok", 2)
        assert side.count("paused") == 4
        side.major = resumed_by
        async with side.worker():
            await side.call("resume")
            await side.quiet()
        assert sorted(side.runs()) == ["1/1", "2/1", "3/1", "4/1"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize(("application", "resumed_by"), [(4, 4), (4, 6), (5, 5), (5, 6), (6, 6)])
async def test_no_job_is_lost_when_retries_and_due_jobs_meet_a_pause(
    sides: Both, application: int, resumed_by: int
) -> None:
    """With the scripts of major 5, which are installed.

    No worker can help where major 6 pauses and major 5 resumes: what was added meanwhile is overwritten by `resume`.
    """

    async def scenario(side: Side) -> list[str]:
        side.major = application
        await side.add("gate:go | fail-then-ok:1 | ok", jobId="retried", attempts=2)
        async with side.worker():
            await side.until_state("active")
            await side.call("pause")
            await side.add("ok", jobId="while-paused")
            await side.add("ok", jobId="due", delay=50)
            await asyncio.sleep(0.1)
            side.open("go")
            await side.until(lambda: not side.count("active"))
            await side.until(lambda: not side.count("delayed"))
            side.major = resumed_by
            await side.call("resume")
            await side.until_state("completed", 3)
            await side.quiet()
        assert sorted(side.runs()) == ["due/1", "retried/1", "retried/2", "while-paused/1"]
        return side.runs()

    await sides(scenario)
