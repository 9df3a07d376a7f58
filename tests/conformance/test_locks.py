"""Locks, stalled jobs, dead workers, and an orderly end. Checklist nos. 43 to 50."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.conftest import Both, Side

SHORT = {"lockDuration": 400, "stalledInterval": 200}
TOO_OFTEN = "job stalled more than allowable limit"


def leave_stalled(side: Side, job_id: str, times_before: int = 0) -> None:
    """Make a waiting job look as a dead worker leaves it: active, seen by a sweep, without a lock."""
    assert side.redis.rpoplpush(side.key("wait"), side.key("active")) == job_id
    side.redis.sadd(side.key("stalled"), job_id)
    side.redis.hset(side.key(job_id), "ats", times_before + 1)
    if times_before:
        side.redis.hset(side.key(job_id), "stc", times_before)


async def test_the_locks_of_long_jobs_are_renewed(both: Both) -> None:
    async def scenario(side: Side) -> None:
        await side.add_all("slow:1300 | ok", 3)
        async with side.worker(concurrency=3, **SHORT):
            await side.quiet()
        assert side.events("stalled") == []
        assert sorted(side.runs()) == ["1/1", "2/1", "3/1"]

    await both(scenario, several_at_once=True)


async def test_a_renewed_lock_takes_the_job_off_the_list_of_suspects(both: Both) -> None:
    async def scenario(side: Side) -> None:
        await side.add("gate:go | ok")
        async with side.worker(lockDuration=400):
            await side.until_state("active")
            side.redis.sadd(side.key("stalled"), "1")
            await side.until(lambda: not side.redis.sismember(side.key("stalled"), "1"))
            side.open("go")
            await side.quiet()

    await both(scenario)


@pytest.mark.parametrize("thief", [None, "somebody"])
@pytest.mark.parametrize("ending", ["ok", "fatal:FILE_CORRUPTED", "fail:STORAGE_UNAVAILABLE"])
async def test_a_job_whose_lock_is_gone_is_left_where_it_is(
    both: Both, thief: str | None, ending: str
) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add(f"gate:go | {ending}", attempts=2)
        async with side.worker():
            await side.until_state("active")
            side.redis.delete(side.key("1:lock"))
            if thief:
                side.redis.set(side.key("1:lock"), thief)
            side.open("go")
            await side.add("ok", jobId="next")
            await side.until_state("completed")
            await side.quiet(leaving=("active",))
        assert side.redis.lrange(side.key("active"), 0, -1) == ["1"]
        assert side.redis.get(side.key("1:lock")) == thief
        return side.runs()

    await both(scenario)


async def test_a_stalled_job_is_put_back_and_run_again(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.listen()
        await side.add("ok")
        leave_stalled(side, "1")
        async with side.worker():
            await side.quiet()
        await side.until_heard("stalled", 1)
        job = side.redis.hgetall(side.key("1"))
        assert (job["stc"], job["ats"], job["atm"]) == ("1", "2", "1")
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("opts", [{}, {"removeOnFail": True}, {"attempts": 5}, {"priority": 3}], ids=str)
async def test_a_job_that_stalled_too_often_fails_without_being_run(both: Both, opts: dict[str, Any]) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("ok", **{**opts, "priority": 0})
        if "priority" in opts:
            side.redis.hset(side.key("1"), "priority", opts["priority"])
        leave_stalled(side, "1", times_before=1)
        await side.add("ok", jobId="next")
        async with side.worker():
            await side.quiet()
        assert [event["failedReason"] for event in side.events("failed")] == [TOO_OFTEN]
        assert side.runs() == ["next/1"]
        return side.runs()

    await both(scenario)


async def test_the_count_of_stalls_outlives_a_retry_by_hand(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("ok")
        leave_stalled(side, "1", times_before=1)
        async with side.worker():
            await side.quiet()
            assert side.count("failed") == 1
            await side.job("1", "retry", "failed")
            await side.quiet()
        assert side.redis.hget(side.key("1"), "stc") == "2"
        assert side.count("completed") == 1
        return side.runs()

    await both(scenario)


async def test_a_deferred_failure_of_any_origin_fails_the_job_with_its_words(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("ok", attempts=3)
        side.redis.hset(side.key("1"), "defa", "child bull:other:7 failed")
        async with side.worker():
            await side.quiet()
        assert side.redis.hget(side.key("1"), "failedReason") == "child bull:other:7 failed"
        assert not side.redis.hexists(side.key("1"), "defa")
        return side.runs()

    await both(scenario)


async def test_only_one_sweep_is_made_in_an_interval_by_all_workers(both: Both) -> None:
    async def scenario(side: Side) -> None:
        await side.add("ok")
        side.redis.set(side.key("stalled-check"), "1", px=60_000)
        leave_stalled(side, "1")
        async with side.worker(**SHORT):
            await asyncio.sleep(0.6)
            assert side.count("active") == 1
            side.redis.set(side.key("stalled-check"), "1", px=1)
            await side.quiet()

    await both(scenario)


async def test_a_worker_sweeps_when_it_starts_and_tells_the_others_for_how_long(both: Both) -> None:
    async def scenario(side: Side) -> None:
        async with side.worker(stalledInterval=20_000):
            await side.add("ok")
            await side.quiet()
            assert 0 < side.redis.pttl(side.key("stalled-check")) <= 20_000

    await both(scenario)


@pytest.mark.parametrize("rescuer", ["the same kind", "the other kind"])
async def test_a_job_of_a_killed_worker_is_run_again_by_another(both: Both, rescuer: str) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.listen()
        await side.add("gate:go | ok:1", attempts=1)
        async with side.process(**SHORT) as dying:
            await side.until(lambda: side.runs())
            dying.kill()
        side.open("go")
        kind = side.other if rescuer == "the other kind" else side.kind
        async with side.process(kind, **SHORT):
            await side.until_state("completed")
            await side.quiet()
        await side.until_heard("stalled", 1)
        job = side.redis.hgetall(side.key("1"))
        assert (job["atm"], job["ats"], job["stc"], job["returnvalue"]) == ("1", "2", "1", "1")
        assert side.runs() == ["1/1", "1/1"]
        return side.runs()

    await both(scenario)


async def test_a_worker_that_stops_keeps_its_locks_ends_its_jobs_and_takes_no_more(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add_all("gate:go | ok", 4)
        stop = asyncio.Event()

        async def serve() -> None:
            async with side.worker(concurrency=2, lockDuration=400):
                await stop.wait()

        serving = asyncio.create_task(serve())
        await side.until(lambda: len(side.runs()) == 2)
        stop.set()
        await asyncio.sleep(1.0)
        assert not serving.done()
        assert all(side.redis.exists(side.key(f"{job_id}:lock")) for job_id in (1, 2))
        side.open("go")
        await asyncio.wait_for(serving, 5)
        assert (side.count("completed"), side.count("active"), side.count("wait")) == (2, 0, 2)
        return sorted(side.runs())

    await both(scenario, several_at_once=True)


async def test_a_stopping_worker_leaves_an_idle_queue_as_it_was(both: Both) -> None:
    async def scenario(side: Side) -> None:
        async with side.worker():
            await side.add("ok")
            await side.quiet()
        await side.add("ok", jobId="for somebody else")
        await asyncio.sleep(0.1)
        # A blocked command left behind would have eaten the marker.
        assert side.redis.zrange(side.key("marker"), 0, -1) == ["0"]

    await both(scenario)
