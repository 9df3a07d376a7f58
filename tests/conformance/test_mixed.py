"""Official workers and ours beside each other on one queue, some of them dying; a server that goes and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from fastproc.embedded.valkey import Valkey
from tests.conformance.conftest import Both, Serving, Side
from tests.conformance.peer import Peer

#: Locks that run out soon. A job may stall as often as its workers die.
MORTAL = {"lockDuration": 600, "stalledInterval": 300, "maxStalledCount": 50, "concurrency": 3}


@pytest.mark.parametrize(
    ("jobs", "seed"),
    [(200, 3), *(pytest.param(500, seed, marks=pytest.mark.soak) for seed in range(4, 8))],
)
async def test_every_job_is_finished_once_though_workers_are_killed(ours: Side, jobs: int, seed: int) -> None:
    kinds = [("official", ours.era), ("official", ours.era), ("ours", ours.era)]
    await killed_at_random(ours, kinds, "slow:100 | ok:1", jobs, seed, (0.1, 0.4))


@pytest.mark.soak
async def test_workers_of_two_majors_and_ours_finish_every_job_once(ours: Side) -> None:
    kinds = [("official", 5), ("official", 5), ("official", 6), ("official", 6), ("ours", 5), ("ours", 5)]
    await killed_at_random(ours, kinds, "slow:400 | ok:1", 2000, 1, (3.0, 3.0))


async def killed_at_random(
    ours: Side, kinds: list[tuple[str, int]], script: str, jobs: int, seed: int, every_s: tuple[float, float]
) -> None:
    """Let workers of these kinds and majors end the jobs, one of them being killed and started now and then."""
    dice = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        workers: list[Serving] = []
        for number, (kind, era) in enumerate(kinds):
            process = ours.process(kind, era=era, name=f"w{number}", **MORTAL)
            workers.append(await stack.enter_async_context(process))
        await ours.add_all(script, jobs)
        killed: list[str] = []
        # In turn, one of ours first: on a slow machine there is time for two or three.
        turn = itertools.cycle([workers[-1], *workers[:-1]])
        while ours.count("completed") < jobs * 0.8 or len(killed) < 2:
            await asyncio.sleep(dice.uniform(*every_s))
            worker = next(turn)
            killed.append(worker.kind)
            worker.kill()
            await asyncio.to_thread(worker.start)
        await ours.quiet()
    runs = ours.runs()
    print(f"killed: {killed}; begun {len(runs)} times for {jobs} jobs")
    assert {"ours", "official"} <= set(killed)
    assert ours.count("failed") == 0
    finished = Counter(event["jobId"] for event in ours.events("completed"))
    assert finished == Counter(str(number + 1) for number in range(jobs))
    by = Counter(ours.redis.hget(ours.key(str(number + 1)), "pb") for number in range(jobs))
    print(f"finished by: {dict(by)}")
    assert by.keys() == {f"w{number}" for number in range(len(kinds))}
    assert {ours.redis.hget(ours.key(str(number + 1)), "atm") for number in range(jobs)} == {"1"}


async def test_jobs_that_our_shutdown_interrupts_are_the_next_ones_of_an_official_worker(sides: Both) -> None:
    ours, official = sides.ours, sides.official
    official.queue = ours.queue
    await ours.add_all("gate:go | ok", 2)
    await ours.add("ok", jobId="later")
    async with ours.worker(concurrency=2) as intake:
        await ours.until(lambda: len(ours.runs()) == 2)
        intake.stop()
        assert await intake.interrupt() == 2
        assert (ours.count("active"), ours.count("wait")) == (0, 3)
        assert not ours.redis.exists(ours.key("1:lock"), ours.key("2:lock"))
    ours.open("go")
    async with official.worker():
        await ours.quiet()
    assert ours.runs()[2:][-1] == "later/1"
    # Begun twice, but no attempt was used up.
    assert [ours.redis.hmget(ours.key(job_id), "ats", "atm", "pb") for job_id in "12"] == [
        ["2", "1", "w"]
    ] * 2
    assert ours.count("completed") == 3


@pytest.fixture
def mortal_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server that keeps its data when it is stopped and started."""
    with Valkey(tmp_path, options=("--appendonly", "yes")) as server:
        yield server


@pytest.fixture
def elsewhere(mortal_valkey: Valkey, unique: str, peer: Peer) -> Iterator[Both]:
    """Both sides on that server."""
    redis = Redis(port=mortal_valkey.port, decode_responses=True, protocol=2)
    with contextlib.closing(redis), contextlib.closing(Peer(mortal_valkey.port)) as own:
        yield Both(*(Side(kind, f"{unique}-{kind}", own, redis) for kind in ("official", "ours")))


async def test_jobs_added_before_and_after_an_outage_of_the_server_are_all_done(
    elsewhere: Both, mortal_valkey: Valkey
) -> None:
    ready, up = asyncio.Barrier(3), asyncio.Event()

    async def scenario(side: Side) -> None:
        await side.add("ok", jobId="early")
        async with side.worker():
            await side.until_state("completed")
            await side.add("ok", jobId="before", delay=300)
            await ready.wait()
            await up.wait()
            await side.add("ok", jobId="after")
            await side.until_state("completed", 3)
            await side.quiet()
        assert sorted(side.runs()) == ["after/1", "before/1", "early/1"]

    async def outage() -> None:
        await ready.wait()
        await asyncio.to_thread(mortal_valkey.stop)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(_again, mortal_valkey)
        up.set()

    async with asyncio.timeout(40):
        await asyncio.gather(scenario(elsewhere.official), scenario(elsewhere.ours), outage())


def _again(server: Valkey) -> None:
    server.start()
    server.wait_ready()
