"""Cancelled jobs beside Node: what its tools see of them, its flows, schedulers, and workers, which know no mark."""

from __future__ import annotations

from typing import Any

import pytest

from fastproc.bullmq.desk import ending
from fastproc.core.acts import Cancel, Outcome, RetryJobs
from fastproc.supervisor import cancellations
from tests.conformance.conftest import Both, Side, photo
from tests.conformance.test_orders import desk

REASON = "CANCELLED: an operator has cancelled the job: so"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellations, "LOOK_S", 0.02)


async def cancel(side: Side, job_id: str, why: str = "so") -> Outcome:
    async with desk(side) as orders:
        return await orders.act(Cancel(job=job_id, why=why))


async def children(side: Side, parent: dict[str, Any], *jobs: dict[str, Any]) -> None:
    made = [{"name": "photo", "queueName": side.queue, **job} for job in jobs]
    flow = {"name": "photo", "queueName": side.queue, **parent, "children": made}
    await side.peer("flow", v=side.major, args=[flow])


@pytest.mark.parametrize("options", [{}, {"delay": 3_600_000}, {"priority": 3}], ids=str)
async def test_nodes_tools_see_a_job_that_was_taken_and_has_failed(
    both: Both, options: dict[str, Any]
) -> None:
    side = both.ours
    await side.listen()
    async with side.worker():
        await side.call("pause")
        job_id = await side.add("ok", jobId="one", attempts=3, **options)
        assert await cancel(side, job_id) == Outcome(ok=True, count=1, text="job one is cancelled")
        await side.call("resume")
        await side.until_heard("failed", 1)
        # A retry by Node's own method runs.
        if not options.get("delay"):
            assert side.runs() == []
        assert await side.job(job_id, "getState") == "failed"
        job = await side.job(job_id)
        assert (job["failedReason"], job["attemptsMade"]) == (REASON, 1)
        await side.job(job_id, "retry")
        await side.until_state("completed")
        await side.quiet()
    assert side.runs() == ["one/2"]
    names = [event["event"] for event in side.events() if event["event"] != "drained"]
    begun = ["added", "delayed" if options.get("delay") else "waiting"]
    assert [name for name in names if name not in ("paused", "resumed")] == [
        *begun, "active", "failed", "waiting", "active", "completed",
    ]  # fmt: skip
    assert await side.heard("failed") == [{"jobId": "one", "failedReason": REASON, "prev": "active"}]


async def test_a_job_that_runs_is_interrupted_and_frees_its_deduplication(ours: Side) -> None:
    async with ours.worker():
        await ours.add("gate:never", jobId="one", deduplication={"id": "d"})
        await ours.until_state("active")
        assert (await cancel(ours, "one")).ok
        assert (await cancel(ours, "one")).text == "job one: it has failed already"
        await ours.add("ok", jobId="two", deduplication={"id": "d"})
        await ours.until_state("completed")
        assert (await cancel(ours, "two")).text == "job two: it has completed already"
        await ours.until(lambda: not ours.count("fastproc:cancel"), "nothing is left of the order")
        assert not ours.redis.hexists(ours.key("one"), "fastprocCancel")
    assert ours.runs() == ["one/1", "two/1"]


async def test_a_parent_is_cancelled_while_its_children_go_on(both: Both) -> None:
    side = both.ours
    await children(side, {"data": photo("ok"), "opts": {"jobId": "p"}}, {"data": photo("gate:go | ok")})
    async with side.worker():
        await side.until_state("active")
        assert side.count("waiting-children") == 1
        assert (await cancel(side, "p")).ok
        side.open("go")
        await side.until_state("completed")
        await side.quiet()
        assert await side.job("p", "getState") == "failed"
        # Now it has all that it waited for.
        async with desk(side) as orders:
            assert (await orders.act(RetryJobs(ids=("p",)))).ok
        await side.until_state("completed", 2)


async def test_a_cancelled_child_fails_its_parent_where_the_flow_says_so(ours: Side) -> None:
    child = {"data": photo("ok"), "opts": {"jobId": "c", "delay": 3_600_000, "failParentOnFailure": True}}
    await children(ours, {"data": photo("ok"), "opts": {"jobId": "p"}}, child)
    async with ours.worker():
        assert (await cancel(ours, "c")).ok
        await ours.until_state("failed", 2)
        await ours.quiet()
    assert ours.runs() == []


async def test_the_next_job_of_a_scheduler_is_not_cancelled_and_one_that_runs_is(ours: Side) -> None:
    async with ours.worker():
        template = {"name": "photo", "data": photo("gate:never")}
        await ours.call("upsertJobScheduler", "s", {"every": 3_600_000}, template)
        await ours.until_state("active")
        [running], [following] = (
            ours.redis.lrange(ours.key("active"), 0, -1),
            await ours.until(lambda: ours.redis.zrange(ours.key("delayed"), 0, -1)),
        )
        said = await cancel(ours, following)
        assert not said.ok
        assert "it is the next job of its scheduler" in said.text
        assert (await cancel(ours, running)).ok
        assert ours.redis.zrange(ours.key("delayed"), 0, -1) == [following]


async def test_a_worker_of_node_does_not_know_the_order_and_its_job_can_run_again(
    ours: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "WAIT_S", 0.2)
    async with ours.process("official"):
        await ours.add("gate:go | ok", jobId="one")
        await ours.until_state("active")
        said = await cancel(ours, "one")
        assert not said.ok
        assert said.text.startswith("job one: it was told to end, and is still active, with w: ")
        ours.open("go")
        await ours.until_state("completed")
    # A service that looks removes what is left of the order.
    async with ours.worker():
        await ours.until(lambda: not ours.redis.hexists(ours.key("one"), "fastprocCancel"), "no mark")
        await ours.job("one", "retry", "completed")
        await ours.until_state("completed")
        await ours.quiet()
    assert ours.runs() == ["one/1", "one/2"]
    assert ours.count("fastproc:cancel") == 0


async def test_a_failed_attempt_does_not_save_a_job_from_an_order(ours: Side) -> None:
    async with ours.worker():
        await ours.add(
            "fail:STORAGE_UNAVAILABLE", jobId="one", attempts=5, backoff={"type": "fixed", "delay": 3_600_000}
        )
        await ours.until_state("delayed")
        assert (await cancel(ours, "one")).ok
    assert ours.runs() == ["one/1"]
    assert ours.redis.hget(ours.key("one"), "failedReason") == REASON


async def test_a_mark_is_found_by_whoever_takes_the_job_though_nobody_was_told(ours: Side) -> None:
    # As a job comes back from a service that died before it could obey.
    await ours.call("pause")
    await ours.add("ok", jobId="one")
    ours.redis.hset(ours.key("one"), "fastprocCancel", '{"why":"so"}')
    async with ours.worker():
        await ours.call("resume")
        await ours.until_state("failed")
    assert ours.runs() == []
    assert ours.redis.hmget(ours.key("one"), "failedReason", "fastprocCancel") == [REASON, ""]
