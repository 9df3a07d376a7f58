"""Delayed jobs. Checklist nos. 15 to 18."""

from __future__ import annotations

import asyncio
import time

from tests.conformance.conftest import Both, Side, photo


async def test_a_delayed_job_starts_at_its_time_and_not_before(both: Both) -> None:
    async def scenario(side: Side) -> None:
        async with side.worker():
            job_id = await side.add("ok", delay=300)
            await side.quiet()
            job = await side.job(job_id)
        late = job["processedOn"] - job["timestamp"] - 300
        print(f"{side.kind}: {late} ms late")
        assert 0 <= late < 1000

    await both(scenario)


async def test_delayed_jobs_run_when_they_are_due_and_at_the_same_time_in_the_order_of_their_adding(
    both: Both,
) -> None:
    async def scenario(side: Side) -> list[str]:
        now = int(time.time() * 1000)
        for job_id, delay in (("late", 600), ("b", 400), ("c", 400), ("d", 400), ("early", 200)):
            await side.add("ok", jobId=job_id, delay=delay, timestamp=now)
        async with side.worker():
            await side.quiet()
        assert [run.partition("/")[0] for run in side.runs()] == ["early", "b", "c", "d", "late"]
        return side.runs()

    await both(scenario)


async def test_the_answer_to_an_empty_fetch_tells_when_the_next_job_is_due(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("ok", jobId="soon", delay=300)
        # Nothing but the reply tells the worker; it would look again after 5 s.
        side.redis.delete(side.key("marker"))
        async with side.worker():
            await asyncio.wait_for(side.until_state("completed"), 3)
            await side.quiet()
        return side.runs()

    await both(scenario)


async def test_a_job_with_a_short_delay_passes_one_with_a_long_delay(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await side.add("ok", jobId="long", delay=600)
            await side.add("ok", jobId="short", delay=200)
            await side.quiet()
        assert side.runs() == ["short/1", "long/1"]
        return side.runs()

    await both(scenario)


async def test_delayed_jobs_with_a_priority_keep_it_when_they_are_due(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        now = int(time.time() * 1000)
        async with side.worker():
            await side.add("gate:go | ok", jobId="first")
            await side.until_state("active")
            jobs = [("low", 9), ("high", 2), ("middle", 5)]
            await side.call(
                "addBulk",
                [
                    {
                        "name": "photo",
                        "data": photo("ok"),
                        "opts": {"jobId": name, "priority": n, "delay": 50, "timestamp": now},
                    }
                    for name, n in jobs
                ],
            )
            await side.until(lambda: time.time() * 1000 > now + 100)
            side.open("go")
            await side.quiet()
        assert side.runs() == ["first/1", "high/1", "middle/1", "low/1"]
        return side.runs()

    await both(scenario)


async def test_a_paused_queue_lets_due_jobs_wait_and_runs_none(sides: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("ok", delay=100)
        await side.call("pause")
        async with side.worker():
            await side.until(lambda: not side.count("delayed"), "promoted")
            assert side.count("wait") + side.count("paused") == 1
            assert side.runs() == []
            await side.call("resume")
            await side.quiet()
        return side.runs()

    await sides(scenario)
