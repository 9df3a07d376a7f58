"""Limits of rate and of concurrency. Checklist nos. 51 to 55."""

from __future__ import annotations

import asyncio
import time

import pytest

from fastproc.bullmq import fetcher, watch
from tests.conformance.conftest import Both, Side


def starts_ms(side: Side) -> list[int]:
    """When the jobs began, by the server's clock, from the first one on."""
    entries = side.redis.xrange(side.key("events"))
    at = [int(entry.partition("-")[0]) for entry, fields in entries if fields["event"] == "active"]
    return [each - at[0] for each in at]


async def test_a_worker_starts_no_more_jobs_than_its_own_limit_allows(both: Both) -> None:
    """Node's worker counts in windows kept in Redis, ours has a bucket of its own: the numbers of jobs agree."""

    async def scenario(side: Side) -> None:
        await side.add_all("ok", 7)
        async with side.worker(concurrency=4, limiter={"max": 2, "duration": 250}):
            await side.quiet()
        starts = starts_ms(side)
        print(f"{side.kind}: {starts}")
        assert starts[6] >= 600  # (7 - 2) / 2 * 250 = 625 ms; Node: three windows, 750 ms
        assert starts[6] < 2500
        side.redis.delete(side.key("limiter"), side.key("events"))

    for side in (both.official, both.ours):
        await scenario(side)


async def test_a_limit_of_the_whole_queue_is_obeyed_and_can_be_lifted(both: Both) -> None:
    async def scenario(side: Side) -> None:
        await side.call("setGlobalRateLimit", 2, 300)
        await side.add_all("ok", 6)
        async with side.worker():
            await side.quiet()
            starts = starts_ms(side)
            print(f"{side.kind}: {starts}")
            assert starts[2] >= 250
            assert starts[4] >= 550
            assert starts[5] < 3000
            await side.call("removeGlobalRateLimit")
            await side.until(lambda: not side.redis.exists(side.key("limiter")))
            await side.add_all("ok", 6)
            await side.quiet()
            late = starts_ms(side)[6:]
            assert late[-1] - late[0] < 250

    await both(scenario)


async def test_a_queue_that_was_limited_by_hand_rests_for_so_long(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.call("setGlobalRateLimit", 100, 1000)
        await side.add("ok", jobId="b", priority=2)
        await side.add("ok", jobId="a", priority=1)
        await side.call("rateLimit", 500)
        started = time.monotonic()
        async with side.worker():
            await side.until_state("completed", 2)
            assert 0.4 < time.monotonic() - started < 3
            side.redis.delete(side.key("limiter"))
            await side.quiet()
        assert side.runs() == ["a/1", "b/1"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("begins", ["idle", "busy"])
async def test_a_queue_without_a_limit_rests_too_when_it_is_told_to(
    both: Both, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    """Node's worker looks only where it, or the queue, has a limit; ours looks every two seconds."""
    monkeypatch.setattr(watch, "CHECK_EVERY_S", 0.1)

    async def scenario(side: Side) -> list[str]:
        async with side.worker(limiter={"max": 1000, "duration": 1000}):
            if begins == "busy":
                await side.add_all("gate:go | ok", 2)
                await side.until(lambda: side.count("active") == 1)
            await side.call("rateLimit", 1500)
            started = time.monotonic()
            await asyncio.sleep(0.4)
            side.open("go")
            await side.add("ok")
            await side.until_state("completed", 3 if begins == "busy" else 1)
            assert 1.0 < time.monotonic() - started < 5
            side.redis.delete(side.key("limiter"))
            await side.quiet()
        return side.runs()

    for side in (both.official, both.ours):
        await scenario(side)


async def test_a_rest_that_is_lifted_ends(ours: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CHECK_EVERY_S", 0.1)
    await ours.call("rateLimit", 60_000)
    async with ours.worker():
        await asyncio.sleep(0.3)
        await ours.add("ok")
        await asyncio.sleep(0.5)
        assert ours.runs() == []
        ours.redis.delete(ours.key("limiter"))
        await asyncio.wait_for(ours.until_state("completed"), 5)
        await ours.quiet()


async def test_delayed_jobs_become_waiting_while_the_queue_is_limited_for_long(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "MAX_LIMIT_S", 0.2)

    async def scenario(side: Side) -> list[str]:
        await side.call("setGlobalRateLimit", 100, 1000)
        await side.call("rateLimit", 60_000)
        await side.add("ok")
        await side.add("ok", jobId="due", delay=300)
        async with side.worker(maximumRateLimitDelay=200):
            await side.until(lambda: not side.count("delayed"), "promoted")
            assert side.runs() == []
            side.redis.delete(side.key("limiter"))
            await side.until_state("completed", 2)
            side.redis.delete(side.key("limiter"))
            await side.quiet()
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("backoff", [0, 60])
async def test_no_more_jobs_are_active_than_the_whole_queue_may_have(both: Both, backoff: int) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.call("setGlobalConcurrency", 2)
        most = 0
        async with side.process(side.other, concurrency=3), side.worker(concurrency=3):
            await side.add_all("gate:go | fail-then-ok:1 | ok", 8, attempts=2, backoff=backoff)
            started = time.monotonic()
            while side.count("completed") < 8:
                most = max(most, side.count("active"))
                if most == 2:
                    # Jobs that wait at a gate are seen on the busiest machine.
                    side.open("go")
                assert time.monotonic() - started < 15, side.where()
                await asyncio.sleep(0.002)
            await side.quiet()
        assert most == 2
        assert sorted(side.runs()) == sorted(f"{job}/{attempt}" for job in range(1, 9) for attempt in (1, 2))
        return sorted(side.runs())

    for side in (both.official, both.ours):
        await scenario(side)
