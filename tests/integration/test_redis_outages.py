"""Redis is there and refuses, forgets, hangs or goes: nothing is lost, nothing loops, and /ready's reason is true.

On a real Valkey of its own, which these tests may break. What a service makes of it is in test_service_outages.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from fastproc.bullmq import watch as watch_module
from fastproc.bullmq.connection import Connection
from fastproc.bullmq.opening import open_pipe, open_queue
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.producer import producer
from fastproc.bullmq.queue import BullQueue
from fastproc.config.settings import Config, load
from fastproc.core.model import Job
from fastproc.embedded.valkey import Valkey

BEGIN, END = "Redis does not serve the queue", "Redis serves the queue again"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, valkey: Valkey) -> Iterator[Valkey]:
    """A Valkey that tests may break; `valkey` decides whether there is one at all."""
    with Valkey(tmp_path_factory.mktemp("own"), options=("--enable-protected-configs", "yes")) as server:
        yield server


class Place:
    """An open queue and its pipe, and the server beside them."""

    def __init__(self, config: Config, pipe: Pipe, queue: BullQueue, redis: Redis, own: Valkey) -> None:
        self.config, self.pipe, self.queue, self.redis, self.own = config, pipe, queue, redis, own
        self.base = f"bull:{config.queue.name}:"

    async def add(self, photo_id: str, **options: object) -> str:
        async with producer(self.config.redis, self.config.queue) as queue:
            return await queue.add({"photoId": photo_id, "s3Key": "photos/x.jpg"}, options)

    async def take(self) -> Job:
        async with asyncio.timeout(20):
            job = await self.queue.take()
        assert job is not None
        return job

    def ids(self, state: str) -> set[bytes]:
        if state in ("wait", "active"):
            return set(self.redis.lrange(self.base + state, 0, -1))
        return set(self.redis.zrange(self.base + state, 0, -1))

    def calls(self) -> int:
        """Commands that the server was asked to do, or refused, without those of `redis`."""
        stats = self.redis.info("commandstats")
        return sum(
            stats[name]["calls"] + stats[name]["rejected_calls"]
            for name in ("cmdstat_evalsha", "cmdstat_get", "cmdstat_zadd")
            if name in stats
        )


@pytest.fixture
async def place(own: Valkey, unique: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(watch_module, "CHECK_EVERY_S", 0.2)
    config = load({"REDIS_HOST": own.host, "REDIS_PORT": str(own.port), "QUEUE_NAME": unique}, 1)
    with Redis(port=own.port) as redis:
        async with open_pipe(config) as pipe, open_queue(config, pipe, "tester") as queue:
            watching = asyncio.create_task(queue.watch())
            yield Place(config, pipe, queue, redis, own)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def until(happened: Callable[[], Any], seconds: float = 10.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := happened()):  # noqa: ASYNC110  # what happens, happens in another process
            await asyncio.sleep(0.01)
    return found


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The beginnings of what was logged at info or above."""
    return [
        record.getMessage()[: len(BEGIN) if record.getMessage().startswith(BEGIN) else len(END)]
        for record in caplog.records
        if record.levelno >= logging.INFO and record.name.startswith("fastproc")
    ]


# --- answers reads, refuses writes


@contextmanager
def disk_error(redis: Redis, folder: Path) -> Iterator[None]:
    folder.mkdir()
    before = redis.config_get("dir")["dir"]
    redis.config_set("dir", str(folder))
    shutil.rmtree(folder)
    redis.config_set("save", "3600 1")
    redis.bgsave()
    while redis.info("persistence")["rdb_last_bgsave_status"] != "err":
        time.sleep(0.01)
    try:
        yield
    finally:
        redis.config_set("dir", before)
        redis.config_set("save", "")


@contextmanager
def no_replicas(redis: Redis, _: Path) -> Iterator[None]:
    redis.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        redis.config_set("min-replicas-to-write", 0)


@contextmanager
def no_memory(redis: Redis, _: Path) -> Iterator[None]:
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


@contextmanager
def read_only(redis: Redis, _: Path) -> Iterator[None]:
    redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        redis.replicaof("NO", "ONE")


@contextmanager
def no_scripts_allowed(redis: Redis, _: Path) -> Iterator[None]:
    redis.execute_command("ACL", "SETUSER", "default", "-evalsha")
    try:
        yield
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+evalsha")


@contextmanager
def no_writes_allowed(redis: Redis, _: Path) -> Iterator[None]:
    redis.execute_command("ACL", "SETUSER", "default", "-@write", "+config", "+replicaof")
    try:
        yield
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+@all")


REFUSALS = {
    "MISCONF": disk_error,
    "NOREPLICAS": no_replicas,
    "OOM": no_memory,
    "READONLY": read_only,
    "NOPERM": no_scripts_allowed,
    "NOPERM of all writes": no_writes_allowed,
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_refused_writes_are_asked_for_seldom_and_finished_when_they_pass(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture, refusal: str
) -> None:
    first = await place.add("one")
    job = await place.take()
    for number in range(5):
        await place.add(f"waits-{number}")
    caplog.set_level(logging.INFO)
    with REFUSALS[refusal](place.redis, tmp_path / "rdb"):
        taking = asyncio.create_task(place.take())
        await until(lambda: place.pipe.outage.why)
        ending = asyncio.create_task(place.queue.complete(job, "null", fetch_next=False))
        before = place.calls()
        await asyncio.sleep(3.0)
        asked = place.calls() - before
        assert place.pipe.outage.why
        assert not taking.done()
        # A script whose first write frees memory passes without memory, and finishing is such a one.
        assert ending.done() == (refusal == "OOM")
        # 15 checks of two commands are among them.
        assert asked < 30 + 60, f"{asked} commands in 3 s"
    async with asyncio.timeout(5):
        assert await ending is None
    following = await taking
    await until(lambda: not place.pipe.outage.why, 5)
    assert place.ids("completed") == {first.encode()}
    assert place.ids("active") == {following.id.encode()}
    assert said(caplog) == [BEGIN, END]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_an_idle_queue_notices_that_writes_are_refused(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture, refusal: str
) -> None:
    keys = set(place.redis.keys(f"{place.base}*"))
    caplog.set_level(logging.INFO)
    with REFUSALS[refusal](place.redis, tmp_path / "rdb"):
        why = await until(lambda: place.pipe.outage.why, 3)
        await asyncio.sleep(1)
        assert place.pipe.outage.why
    # Of a replica the connection says it first, or the check does.
    assert refusal.partition(" ")[0] in why
    await until(lambda: not place.pipe.outage.why, 3)
    assert said(caplog) == [BEGIN, END]
    assert set(place.redis.keys(f"{place.base}*")) == keys


async def test_an_idle_queue_notices_that_redis_is_frozen_and_that_it_goes_on(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "CHECK_TIMEOUT_S", 0.5)
    caplog.set_level(logging.INFO)
    os.kill(place.own.pid, signal.SIGSTOP)
    try:
        assert "no answer" in await until(lambda: place.pipe.outage.why, 3)
    finally:
        os.kill(place.own.pid, signal.SIGCONT)
    await until(lambda: not place.pipe.outage.why, 3)
    assert said(caplog) == [BEGIN, END]
    assert place.pipe.reconnects == 0


async def test_an_idle_queue_notices_that_redis_has_gone_and_that_it_is_back(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place.own.stop()
    try:
        await until(lambda: place.pipe.outage.why, 3)
        await asyncio.sleep(2)
    finally:
        place.own.start()
        place.own.wait_ready()
    await until(lambda: not place.pipe.outage.why, 5)
    assert said(caplog) == [BEGIN, END]


# --- forgets its scripts


async def test_progress_and_log_rows_survive_a_flush_of_the_scripts(place: Place) -> None:
    job_id = await place.add("one")
    job = await place.take()
    place.redis.script_flush()
    for percent in range(1, 60):
        # Some in one batch, some in batches of their own: a call can fail after a later one was sent.
        place.queue.progress(job, percent)
        await asyncio.sleep(0.0001 * (percent % 3))
    place.queue.add_log(job, "a row")
    await until(lambda: place.redis.hget(place.base + job_id, "progress") == b"59")
    await until(lambda: place.redis.lrange(f"{place.base}{job_id}:logs", 0, -1) == [b"a row"])
    events = [fields for _, fields in place.redis.xrange(place.base + "events")]
    percents = [int(fields[b"data"]) for fields in events if fields[b"event"] == b"progress"]
    assert percents == sorted(percents)
    place.queue.progress(job, 60)
    await until(lambda: place.redis.hget(place.base + job_id, "progress") == b"60")


# --- refuses the name, or the wait


def names(redis: Redis) -> list[str]:
    return [client["name"] for client in redis.client_list()]


async def test_the_worker_has_its_name_before_it_waits_for_the_first_time(place: Place) -> None:
    assert [name for name in names(place.redis) if name.endswith(":w:tester")]
    # And again after its connection was cut, while it takes one job after another.
    [mine] = [client for client in place.redis.client_list() if client["name"].endswith(":w:tester")]
    place.redis.client_kill_filter(_id=mine["id"])
    await until(lambda: any(name.endswith(":w:tester") for name in names(place.redis)), 3)


async def test_a_refused_name_does_not_keep_jobs_from_being_taken(own: Valkey, unique: str) -> None:
    with Redis(port=own.port) as redis:
        redis.execute_command("ACL", "SETUSER", "nameless", "on", ">pw", "~*", "&*", "+@all", "-client")
        url = f"redis://nameless:pw@{own.host}:{own.port}/0"
        config = load({"REDIS_URL": url, "QUEUE_NAME": unique}, 1)
        async with open_pipe(config) as pipe, open_queue(config, pipe, "tester") as queue:
            here = Place(config, pipe, queue, redis, own)
            taking = asyncio.create_task(here.take())
            await asyncio.sleep(0.3)  # The queue is empty, so it waits for the marker.
            async with producer(load({"REDIS_PORT": str(own.port)}, 1).redis, config.queue) as adding:
                await adding.add({"photoId": "one", "s3Key": "x.jpg"}, {})
            async with asyncio.timeout(2):
                assert (await taking).photo_id == "one"
            assert not pipe.outage.why


async def test_jobs_are_taken_while_the_blocking_wait_is_refused_and_ready_says_why(place: Place) -> None:
    place.redis.execute_command("ACL", "SETUSER", "default", "-bzpopmin")
    try:
        taking = asyncio.create_task(place.take())
        assert "bzpopmin" in (await until(lambda: place.pipe.outage.why)).lower()
        await place.add("one")
        async with asyncio.timeout(5):
            assert (await taking).photo_id == "one"
        assert place.pipe.outage.why
    finally:
        place.redis.execute_command("ACL", "SETUSER", "default", "+bzpopmin")
    taking = asyncio.create_task(place.take())
    await until(lambda: not place.pipe.outage.why)
    place.queue.stop()
    assert await place.queue.take() is None
    await asyncio.gather(taking, return_exceptions=True)


# --- the task that owns the connection


async def test_an_unexpected_error_costs_a_batch_and_not_the_service(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await place.add("one")
    job = await place.take()
    read, broken = Connection.read, 2

    async def confused(self: Connection) -> Any:
        nonlocal broken
        reply = await read(self)
        if broken:
            broken -= 1
            raise ValueError("a parser's mistake")
        return reply

    monkeypatch.setattr(Connection, "read", confused)
    async with asyncio.timeout(10):
        assert await place.queue.complete(job, "null", fetch_next=False) is None
    assert place.ids("completed") == {first.encode()}
    assert "a parser's mistake" in caplog.text
    await until(lambda: not place.pipe.outage.why)


# --- interrupted while a move is under way


async def interrupted_in_the_finish(place: Place, job: Job, *, after: str = "moveToFinished") -> object:
    """Freeze Redis, finish, interrupt, let Redis go on; return what the finish returned or raised."""
    os.kill(place.own.pid, signal.SIGSTOP)
    try:
        ending = asyncio.create_task(place.queue.complete(job, "null", fetch_next=True))
        await asyncio.sleep(0.05)
        ending.cancel()
        await asyncio.sleep(0.05)
    finally:
        os.kill(place.own.pid, signal.SIGCONT)
    [result] = await asyncio.gather(ending, return_exceptions=True)
    return result


async def test_the_job_that_came_with_an_interrupted_finish_goes_back(place: Place) -> None:
    first, second = await place.add("one"), await place.add("two")
    job = await place.take()
    assert await interrupted_in_the_finish(place, job) is None
    assert place.ids("completed") == {first.encode()}
    assert place.ids("wait") == {second.encode()}
    assert place.ids("active") == set()
    assert not place.redis.exists(f"{place.base}{second}:lock")
    assert place.redis.hget(place.base + second, "atm") is None


# --- who is woken


async def test_a_finish_without_a_fetch_wakes_a_service_that_waits_for_a_place_in_the_queue(
    place: Place,
) -> None:
    place.redis.hset(place.base + "meta", "concurrency", 1)
    await place.add("one")
    await place.add("two")
    job = await place.take()
    async with open_pipe(place.config) as pipe, open_queue(place.config, pipe, "another") as other:
        waiting = asyncio.create_task(other.take())
        await asyncio.sleep(0.5)  # It has asked in vain, and waits for the marker.
        assert not waiting.done()
        await place.queue.complete(job, "null", fetch_next=False)
        async with asyncio.timeout(2):
            following = await waiting
    assert following is not None
    assert following.photo_id == "two"


@pytest.mark.parametrize("how", ["give_back", "retry with a delay"])
async def test_a_job_that_goes_back_wakes_a_service_that_waits_for_a_place_in_the_queue(
    place: Place, how: str
) -> None:
    place.redis.hset(place.base + "meta", "concurrency", 1)
    await place.add("one")
    await place.add("two")
    job = await place.take()
    async with open_pipe(place.config) as pipe, open_queue(place.config, pipe, "another") as other:
        waiting = asyncio.create_task(other.take())
        await asyncio.sleep(0.5)
        if how == "give_back":
            await place.queue.give_back(job)
        else:
            await place.queue.retry(job, 60_000, "x", "x", fetch_next=False)
        async with asyncio.timeout(2):
            assert await waiting is not None


async def test_a_prioritized_job_that_goes_back_is_taken_at_once(place: Place) -> None:
    await place.add("one", priority=3)
    job = await place.take()
    async with open_pipe(place.config) as pipe, open_queue(place.config, pipe, "another") as other:
        waiting = asyncio.create_task(other.take())
        await asyncio.sleep(0.5)
        await place.queue.give_back(job)
        async with asyncio.timeout(2):
            following = await waiting
    assert following is not None
    assert (following.photo_id, following.attempt) == ("one", 1)
