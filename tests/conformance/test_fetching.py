"""Which job is taken, when, and with how many calls. Checklist nos. 1 to 14."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter

import pytest

from fastproc.bullmq import fetcher, scripts, waiter
from tests.conformance.conftest import Both, Side, photo
from tests.conformance.spy import Deaf, Spy


async def test_jobs_that_are_there_before_the_worker_need_no_marker(both: Both) -> None:
    async def scenario(side: Side) -> None:
        for _ in range(3):
            await side.add("ok")
        side.redis.delete(side.key("marker"))
        started = time.monotonic()
        async with side.worker():
            await side.quiet()
        assert time.monotonic() - started < 3  # A worker that blocks first would take 5 s.

    await both(scenario)


async def test_jobs_run_in_the_order_of_their_adding(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        for _ in range(10):
            await side.add("ok")
        async with side.worker():
            await side.quiet()
        assert side.runs() == [f"{number}/1" for number in range(1, 11)]
        return side.runs()

    await both(scenario)


async def test_jobs_added_as_lifo_run_in_reverse_order(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        for _ in range(5):
            await side.add("ok", lifo=True)
        async with side.worker():
            await side.quiet()
        assert side.runs() == ["5/1", "4/1", "3/1", "2/1", "1/1"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("counter", [None, 2**32 - 3, 2**53 - 10])
async def test_plain_jobs_go_first_then_the_lower_priorities_first_come_first_served(
    both: Both, counter: int | None
) -> None:
    async def scenario(side: Side) -> list[str]:
        if counter:
            side.redis.set(side.key("pc"), counter)
        for job_id, priority in (("d", 2_097_151), ("b", 3), ("c", 3), ("a", 1)):
            await side.add("ok", jobId=job_id, priority=priority)
        await side.add("ok", jobId="plain")
        async with side.worker():
            await side.quiet()
        order = [run.partition("/")[0] for run in side.runs()]
        assert order[:2] == ["plain", "a"]
        assert order[-1] == "d"
        if not counter:
            assert order == ["plain", "a", "b", "c", "d"]
        return order

    await both(scenario)


async def test_an_idle_worker_takes_a_new_job_at_once(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await side.add("ok")
            await side.quiet()
            waits = []
            for _ in range(10):
                job_id = await side.add("ok")
                await side.quiet()
                job = await side.job(job_id)
                waits.append(job["processedOn"] - job["timestamp"])
        print(f"{side.kind}: added to active: median {statistics.median(waits)} ms, longest {max(waits)} ms")
        assert max(waits) < 1000
        return side.runs()

    await both(scenario)


async def test_a_worker_asks_for_work_no_more_often_than_it_has_jobs(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        for _ in range(12):
            await side.add("ok")
        with Spy(side.port, side.queue) as spy:
            async with side.worker():
                await side.quiet()
        calls = spy.calls(scripts.load(side.scripts_folder))
        print(f"{side.kind}: {calls}")
        # ioredis calls a script by its text the first time, and by its hash afterwards.
        assert calls["moveToFinished"] in ((12,) if side.kind == "ours" else (11, 12))
        assert calls["moveToActive"] <= 3  # The next job comes with the end of the one before.
        return side.runs()

    await both(scenario)


async def test_an_idle_worker_of_many_slots_waits_with_one_blocked_command(both: Both) -> None:
    async def scenario(side: Side) -> None:
        await side.add("ok")
        with Spy(side.port, side.queue) as spy:
            async with side.worker(concurrency=8):
                await side.quiet()
                blocked = [
                    client
                    for client in side.redis.client_list()
                    if client["name"] == side.client_name("w") and client["cmd"] == "bzpopmin"
                ]
                assert len(blocked) == 1
        assert spy.calls(scripts.load(side.scripts_folder))["moveToActive"] <= 9

    await both(scenario)


async def test_as_many_jobs_are_active_as_the_worker_has_slots(both: Both) -> None:
    async def scenario(side: Side) -> None:
        for _ in range(7):
            await side.add("gate:go | ok")
        async with side.worker(concurrency=3):
            await side.until_state("active", 3)
            assert len(await side.until(lambda: len(side.runs()) >= 3 and side.runs())) == 3
            assert (side.count("active"), side.count("wait")) == (3, 4)
            side.open("go")
            await side.quiet()
        assert sorted(side.runs()) == [f"{number}/1" for number in range(1, 8)]

    await both(scenario, several_at_once=True)


async def test_jobs_of_a_bulk_with_ids_of_their_own_are_all_processed(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        jobs = [{"name": "photo", "data": photo("ok"), "opts": {"jobId": f"own-{n}"}} for n in range(10)]
        async with side.worker():
            await side.call("addBulk", jobs)
            await side.quiet()
        return side.runs()

    await both(scenario)


async def test_a_job_runs_at_once_though_the_worker_waits_for_a_later_one(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await side.add("ok")
            await side.quiet()
            await side.add("ok", delay=60_000)
            started = time.monotonic()
            await side.add("ok")
            await side.quiet(leaving=("delayed",))
            assert time.monotonic() - started < 2
            await side.add("ok", delay=200)  # Before the one that it waits for.
            await side.until_state("completed", 3)
            assert time.monotonic() - started < 4
            await side.quiet(leaving=("delayed",))
        return side.runs()

    await both(scenario)


async def test_a_due_job_without_a_marker_is_found_by_the_next_look(sides: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await side.add("ok")
            await side.quiet()
            # Moved under the worker's eyes, so that no marker tells of it.
            data = {"name": "photo", "data": '{"photoId":"p1","s3Key":"ok"}', "opts": '{"attempts":0}'}
            side.redis.hset(side.key("lost"), mapping=data | {"timestamp": 1, "delay": 1, "priority": 0})
            side.redis.zadd(side.key("delayed"), {"lost": 4096})
            await side.until_state("completed", 2)
            await side.quiet()
        return side.runs()

    await sides(scenario)


async def test_a_blocked_command_whose_reply_never_comes_does_not_stop_the_worker(
    ours: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "DRAIN_DELAY_S", 0.3)
    monkeypatch.setattr(waiter, "CONNECT_TIMEOUT_S", 0.5)
    async with Deaf(ours.port) as between:
        ours.port = between.port
        async with ours.worker():
            await ours.add("ok")
            await ours.quiet()
            await between.swallow(b"BZPOPMIN")
            await ours.add("ok")
            # The marker went to nobody.
            await asyncio.wait_for(ours.until_state("completed", 2), 5)
            await ours.quiet()
    assert ours.runs() == ["1/1", "2/1"]


async def test_delays_of_few_milliseconds_never_end_in_a_wait_for_ever(both: Both) -> None:
    async def scenario(side: Side) -> None:
        async with side.worker():
            for delay in range(1, 13):
                await side.add("ok", delay=delay)
            await side.quiet()
        assert sorted(side.runs()) == sorted(f"{number}/1" for number in range(1, 13))
        return None

    for side in (both.official, both.ours):
        await scenario(side)


async def test_an_idle_worker_leaves_the_server_in_peace(ours: Side) -> None:
    async with ours.worker():
        await ours.add("ok")
        await ours.quiet()
        with Spy(ours.port, ours.queue) as spy:
            ours.redis.ping()
            await spy.after(2.0)
    # The check of Redis is five commands each 2 s; the stalled sweep and the fetch after a wait may fall into the time.
    seen = Counter(" ".join(line.split()[3:5]) for line in spy.lines)
    assert max(seen.values()) <= 2, seen
    assert seen.total() <= 12, seen
