"""Orders of an operator: ours leave what Node's own methods leave, and Node's tools see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastproc.bullmq import scripts
from fastproc.bullmq.address import connector
from fastproc.bullmq.desk.queue_desk import QueueDesk
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config.redis import RedisConfig
from fastproc.core.acts import Cancel, Drain, Pause, Resume, RetryJobs
from tests.conformance.conftest import Both, Side, photo


@asynccontextmanager
async def desk(side: Side, end: str = "") -> AsyncIterator[QueueDesk]:
    """The desk of a side's queue, with the scripts that its worker has."""
    keys = Keys("bull", side.queue + end)
    pipe = Pipe(connector(RedisConfig(host="127.0.0.1", port=side.port), keys.base))
    await pipe.open()
    try:
        yield QueueDesk(pipe.call, keys, scripts.load(side.scripts_folder))
    finally:
        await pipe.close()


class Orders:
    """The same order, by Node's method on the official side, by ours on our side."""

    def __init__(self, side: Side) -> None:
        self.side = side

    async def retry(self, job_id: str) -> None:
        if self.side.kind == "official":
            await self.side.job(job_id, "retry")
            return
        async with desk(self.side) as ours:
            outcome = await ours.act(RetryJobs(ids=(job_id,)))
        assert (outcome.ok, outcome.count) == (True, 1)

    async def pause(self) -> None:
        await self._queue("pause", Pause())

    async def resume(self) -> None:
        await self._queue("resume", Resume())

    async def drain(self, *, delayed: bool, removed: int) -> None:
        if self.side.kind == "official":
            await self.side.call("drain", delayed)
            return
        async with desk(self.side) as ours:
            outcome = await ours.act(Drain(delayed=delayed))
        assert (outcome.ok, outcome.count) == (True, removed)

    async def _queue(self, method: str, act: Pause | Resume) -> None:
        if self.side.kind == "official":
            await self.side.call(method)
            return
        async with desk(self.side) as ours:
            assert (await ours.act(act)).ok


@pytest.mark.parametrize("options", [{}, {"lifo": True}, {"priority": 5}, {"attempts": 2}], ids=str)
async def test_a_job_that_is_retried_is_what_nodes_retry_makes_of_it(
    both: Both, options: dict[str, Any]
) -> None:
    async def scenario(side: Side) -> Any:
        await side.listen()
        orders = Orders(side)
        async with side.worker():
            job_id = await side.add("fail:STORAGE_UNAVAILABLE", jobId="wrong", **options)
            await side.until_state("failed")
            await side.quiet()
        await side.add("ok", jobId="before")
        await orders.retry(job_id)
        waiting = side.snapshot()
        async with side.worker():
            await side.until_state("failed")
            await side.quiet()
        await side.until_heard("failed", 2)
        return waiting, await side.heard("waiting"), await side.heard("failed"), side.runs()

    await both(scenario)


async def test_a_job_that_is_retried_while_the_queue_is_paused_waits_where_node_puts_it(both: Both) -> None:
    async def scenario(side: Side) -> Any:
        orders = Orders(side)
        async with side.worker():
            job_id = await side.add("fail-then-ok:1", jobId="wrong")
            await side.until_state("failed")
            await side.quiet()
            await orders.pause()
            await orders.retry(job_id)
            waiting = side.snapshot()
            await asyncio.sleep(0.1)
            assert side.runs() == ["wrong/1"]
            await orders.resume()
            await side.until_state("completed")
            await side.quiet()
        return waiting

    await both(scenario)


async def test_a_pause_of_ours_is_nodes_pause_and_so_is_its_end(both: Both) -> None:
    async def scenario(side: Side) -> Any:
        await side.listen()
        orders = Orders(side)
        await side.add_all("ok", 2)
        await orders.pause()
        paused = side.snapshot()
        assert await side.call("isPaused") is True
        # Whoever the worker is: Node's stops for our pause, ours for Node's.
        async with side.process(side.other):
            await side.until(lambda: side.connections("w"), "the worker is there")
            await asyncio.sleep(0.3)
            assert side.runs() == []
            await side.add("ok", jobId="later")
            await orders.resume()
            assert await side.call("isPaused") is False
            await side.until_state("completed", 3)
        await side.until_heard("resumed", 1)
        return paused, len(await side.heard("paused")), len(await side.heard("resumed"))

    await both(scenario)


@pytest.mark.parametrize("major", [5, 6])
async def test_a_pause_says_what_nodes_counts_do_not(ours: Side, major: int) -> None:
    ours.major = major
    await ours.add_all("ok", 2)
    async with desk(ours) as orders:
        said = (await orders.act(Pause())).text
        counts = await ours.call("getJobCounts")
        assert counts["waiting"] + counts.get("paused", 0) == (2 if major == 5 else 0)
        assert (await orders.act(Pause())).text.partition(";")[2] == said.partition(";")[2]
        assert (await orders.act(Resume())).text == "the queue is served again"
    told = "; BullMQ 6, which the application has, counts 2 that wait again after `resume`"
    assert said == "the queue is paused: no worker takes a job, those in hand go on" + told * (major == 6)


async def test_a_pause_of_a_queue_that_nobody_has_used_says_so(ours: Side) -> None:
    async with desk(ours, end="-misspelt") as orders:
        for act in (Pause(), Pause(), Resume()):
            outcome = await orders.act(act)
            assert outcome.ok
            assert f"no application has used bull:{ours.queue}-misspelt yet" in outcome.text


@pytest.mark.parametrize("delayed", [False, True])
async def test_a_drained_queue_is_what_nodes_drain_leaves(both: Both, delayed: bool) -> None:
    async def scenario(side: Side) -> Any:
        await side.listen()
        await side.add_all("ok", 3)
        await side.add("ok", priority=4)
        await side.add("ok", delay=3_600_000, jobId="later")
        await side.add("ok", deduplication={"id": "one"}, jobId="deduplicated")
        yearly = {"pattern": "0 0 1 1 *"}
        await side.call("upsertJobScheduler", "series", yearly, {"name": "photo", "data": photo("ok")})
        await Orders(side).drain(delayed=delayed, removed=6 if delayed else 5)
        # The next job of the series stays.
        assert side.count("delayed") == 2 - delayed
        await side.add("ok", deduplication={"id": "one"}, jobId="again")
        return [await side.heard(name) for name in ("removed", "drained")]

    await both(scenario)


@pytest.mark.parametrize("paused", [False, True])
async def test_a_drain_keeps_a_schedulers_job_that_waits_among_others_and_counts_parents(
    ours: Side, paused: bool
) -> None:
    if paused:
        await ours.call("pause")
    # The first job of `every` waits at once. Node's own drain would keep the id of `before` for it, and end the series.
    await ours.add("ok", jobId="before")
    await ours.call("upsertJobScheduler", "s", {"every": 3_600_000}, {"name": "photo", "data": photo("ok")})
    child = {"name": "photo", "queueName": ours.queue, "data": photo("ok"), "opts": {"jobId": "child"}}
    parent = child | {"opts": {"jobId": "parent"}, "children": [child]}
    await ours.peer("flow", v=ours.major, args=[parent])
    async with desk(ours) as orders:
        outcome = await orders.act(Drain(delayed=True))
        assert (outcome.ok, outcome.count) == (True, 3)
        [left] = [job.id for job in await orders.jobs("waiting")]
        assert left.startswith("repeat:s:")
        assert not ours.count("waiting-children")
        assert (await orders.act(Resume())).ok
    async with ours.worker():
        await ours.until_state("completed")
        await ours.until_state("delayed")
    assert ours.runs() == [f"{left}/1"]


async def test_what_is_retried_by_code_is_what_had_failed_when_it_began(ours: Side) -> None:
    async with ours.worker(concurrency=8), desk(ours) as orders:
        await ours.add_all("fail:FILE_CORRUPTED", 500, jobId="a")
        await ours.add_all("fail:STORAGE_UNAVAILABLE", 20, jobId="b")
        await ours.until_state("failed", 520)
        await ours.quiet()
        act = RetryJobs(code="FILE_CORRUPTED")
        assert len(await orders.chosen(act)) == 500
        # Each fails again within the moment: an order that looked for failed jobs as it goes would not end.
        outcome = await orders.act(act)
        assert (outcome.ok, outcome.count, outcome.text) == (True, 500, "500 of 500 jobs run again")
        await ours.until(lambda: len(ours.runs()) >= 1020, "all run again")
        await ours.quiet()
    runs = ours.runs()
    assert len(runs) == 1020
    assert {run for run in runs if run.startswith("b-")} == {f"b-{n}/1" for n in range(20)}


async def test_an_order_says_what_it_could_not_do(ours: Side) -> None:
    waiting = await ours.add("ok")
    async with desk(ours) as orders:
        outcome = await orders.act(RetryJobs(ids=(waiting, "nobody", "wait")))
        assert (outcome.ok, outcome.count) == (False, 0)
        nobody, key = "nobody (there is no such job)", "wait (there is no such job)"
        assert outcome.text == f"0 of 3 jobs run again; not: 1 (it is waiting), {nobody}, {key}"
        for job_id in ("nobody", "wait", "meta"):
            assert (await orders.act(Cancel(job=job_id))).text == f"job {job_id}: there is no such job"
            assert await orders.find(job_id) is None
        assert (await orders.act(RetryJobs(code="FILE_CORRUPTED"))).text == "no such job has failed"
        assert (await orders.act(Pause(host="one"))).ok is False
        assert ours.count("wait") == 1
