"""Parents and children, deduplication, schedulers, metrics. Checklist nos. 59 to 67, and 48."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fastproc.bullmq.protocol import METRICS_MINUTES
from tests.conformance.conftest import Both, Side, photo
from tests.conformance.test_locks import leave_stalled

CHILDREN = "-children"
PARENT_OPTIONS = (
    {},
    {"failParentOnFailure": True},
    {"ignoreDependencyOnFailure": True},
    {"removeDependencyOnFailure": True},
    {"continueParentOnFailure": True},
)


def node(side: Side, name: str, script: str, *children: Any, queue: str = "", **opts: Any) -> dict[str, Any]:
    """A node of a flow; `queue` is the end of its queue's name."""
    tree = {
        "name": name,
        "queueName": side.queue + queue,
        "data": photo(script),
        "opts": {"jobId": name, **opts},
    }
    return tree | ({"children": list(children)} if children else {})


async def add_flow(side: Side, tree: dict[str, Any]) -> None:
    await side.peer("flow", v=side.major, args=[tree])


@pytest.mark.parametrize("opts", [{}, {"removeOnComplete": True}], ids=str)
async def test_a_parent_runs_after_its_children_and_has_their_values(
    both: Both, opts: dict[str, Any]
) -> None:
    async def scenario(side: Side) -> object:
        children = [node(side, f"child-{n}", f'ok:{{"n":{n}}}', queue=CHILDREN, **opts) for n in (1, 2, 3)]
        await add_flow(side, node(side, "parent", "ok:1", *children))
        async with side.worker(), side.worker(CHILDREN):
            await side.until_state("completed")
            await side.quiet()
        values = await side.job("parent", "getChildrenValues")
        assert sorted(value["n"] for value in values.values()) == [1, 2, 3]
        return sorted(value["n"] for value in values.values())

    await both(scenario)


async def test_children_of_children_come_first_in_one_queue_too(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        leaf = node(side, "leaf", "ok:3")
        await add_flow(side, node(side, "root", "ok:1", node(side, "middle", "ok:2", leaf)))
        async with side.worker():
            await side.until_state("completed", 3)
            await side.quiet()
        assert side.runs() == ["leaf/1", "middle/1", "root/1"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("opts", PARENT_OPTIONS, ids=str)
@pytest.mark.parametrize("parent", [{}, {"delay": 300}, {"priority": 2}], ids=str)
async def test_the_failure_of_a_child_reaches_its_parent_as_the_child_says(
    both: Both, opts: dict[str, Any], parent: dict[str, Any]
) -> None:
    async def scenario(side: Side) -> object:
        bad = node(side, "bad", "fatal:FILE_CORRUPTED", **opts)
        await add_flow(side, node(side, "parent", "ok", node(side, "good", "ok:5"), bad, **parent))
        async with side.worker():
            await side.quiet()
        state = await side.job("parent", "getState")
        if opts == {}:
            assert state == "waiting-children"
        elif "failParentOnFailure" in opts:
            assert state == "failed"
            assert side.redis.hget(side.key("parent"), "failedReason") == f"child {side.key('bad')} failed"
            assert "parent/1" not in side.runs()
        else:
            assert state == "completed"
        ignored = (
            await side.job("parent", "getIgnoredChildrenFailures")
            if "ignoreDependencyOnFailure" in opts
            else {}
        )
        return [state, list(ignored.values())]

    await both(scenario)


async def test_a_failed_child_fails_its_grandparents_too(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        leaf = node(side, "leaf", "fatal:FILE_CORRUPTED", failParentOnFailure=True)
        middle = node(side, "middle", "ok", leaf, failParentOnFailure=True)
        await add_flow(side, node(side, "root", "ok", middle))
        async with side.worker():
            await side.until_state("failed", 3)
            await side.quiet()
        assert side.runs() == ["leaf/1"]
        return side.runs()

    await both(scenario)


async def test_a_retried_child_does_not_release_its_parent(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        child = node(side, "child", "fail-then-ok:1 | ok", attempts=2, ignoreDependencyOnFailure=True)
        await add_flow(side, node(side, "parent", "ok", child))
        async with side.worker():
            await side.until_state("completed", 2)
            await side.quiet()
        assert side.runs() == ["child/1", "child/2", "parent/1"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("opts", PARENT_OPTIONS, ids=str)
async def test_a_child_that_stalled_too_often_reaches_its_parent_as_any_failed_child(
    both: Both, opts: dict[str, Any]
) -> None:
    async def scenario(side: Side) -> str:
        await add_flow(side, node(side, "parent", "ok", node(side, "child", "ok", **opts)))
        leave_stalled(side, "child", times_before=1)
        async with side.worker():
            await side.until_state("failed")
            await side.quiet()
        assert "child/1" not in side.runs()
        return str(await side.job("parent", "getState"))

    await both(scenario)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_parent_that_ends_before_its_children_fails_by_the_usual_rules(
    both: Both, attempts: int
) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("gate:go | ok", jobId="parent", attempts=attempts)
        async with side.worker():
            await side.until_state("active")
            parent = {"id": "parent", "queue": f"bull:{side.queue}"}
            await side.add_to(CHILDREN, "ok", jobId="child", parent=parent)
            side.open("go")
            await side.until_state("failed")
            await side.quiet()
        reason = side.redis.hget(side.key("parent"), "failedReason")
        assert reason == "Job parent has pending dependencies. moveToFinished"
        assert len(side.runs()) == attempts
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_parent_whose_child_has_failed_meanwhile_fails_for_good(both: Both, attempts: int) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("gate:go | ok", jobId="parent", attempts=attempts)
        async with side.worker(), side.worker(CHILDREN):
            await side.until_state("active")
            parent = {"id": "parent", "queue": f"bull:{side.queue}"}
            await side.add_to(
                CHILDREN, "fatal:FILE_CORRUPTED", jobId="child", parent=parent, failParentOnFailure=True
            )
            await side.until(lambda: side.redis.zcard(f"bull:{side.queue}{CHILDREN}:failed"))
            side.open("go")
            await side.until_state("failed")
            await side.quiet()
        reason = side.redis.hget(side.key("parent"), "failedReason")
        assert "failed child" in reason
        assert side.runs() == ["parent/1"]
        return side.runs()

    await both(scenario)


# --- deduplication


@pytest.mark.parametrize("ending", ["ok", "fatal:FILE_CORRUPTED", "fail-then-ok:1 | ok"])
async def test_a_duplicate_is_ignored_until_the_first_one_has_ended(both: Both, ending: str) -> None:
    async def scenario(side: Side) -> list[str]:
        unique = {"deduplication": {"id": "same"}, "attempts": 2}
        first = await side.add(f"gate:go | {ending}", **unique)
        assert await side.add("ok", **unique) == first
        async with side.worker():
            await side.until_state("active")
            assert await side.add("ok", **unique) == first
            side.open("go")
            await side.quiet()
            assert await side.add("ok", **unique) != first
            await side.quiet()
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("ending", ["ok", "fatal:FILE_CORRUPTED", "fail-then-ok:1 | ok"])
async def test_of_the_duplicates_of_an_active_job_the_last_one_follows_it(both: Both, ending: str) -> None:
    async def scenario(side: Side) -> list[str]:
        unique = {"deduplication": {"id": "same", "keepLastIfActive": True}, "attempts": 2}
        await side.add(f"gate:go | {ending}", **unique)
        async with side.worker():
            await side.until_state("active")
            for number in range(3):
                await side.add(f"ok:{number}", **unique)
            side.open("go")
            await side.quiet()
        values = [event["returnvalue"] for event in side.events("completed")]
        assert values[-1] == "2"
        assert "0" not in values
        assert "1" not in values
        return side.runs()

    await both(scenario)


# --- schedulers


async def schedule(side: Side, name: str, repeat: dict[str, Any], script: str, **opts: Any) -> None:
    await side.call(
        "upsertJobScheduler", name, repeat, {"name": "photo", "data": photo(script), "opts": opts}
    )


@pytest.mark.parametrize(
    ("repeat", "script", "opts"),
    [
        ({"every": 250, "limit": 3}, "slow:30 | ok:1", {"attempts": 1}),
        ({"every": 250, "limit": 3}, "slow:30 | fatal:FILE_CORRUPTED", {"attempts": 1}),
        (
            {"every": 300, "limit": 2},
            "slow:30 | fail-then-ok:1 | ok",
            {"attempts": 2, "backoff": 20, "priority": 3},
        ),
        ({"pattern": "* * * * * *", "limit": 2}, "slow:30 | ok", {"attempts": 1, "removeOnComplete": True}),
        (
            {"pattern": "*/1 * * * * *", "limit": 2, "tz": "Asia/Kolkata"},
            "slow:30 | ok",
            {"attempts": 3, "backoff": 10},
        ),
    ],
    ids=str,
)
async def test_a_schedule_goes_on_until_its_limit_whatever_becomes_of_its_jobs(
    both: Both, repeat: dict[str, Any], script: str, opts: dict[str, Any]
) -> None:
    async def scenario(side: Side) -> int:
        async with side.worker():
            await schedule(side, "often", repeat, script, **opts)
            await side.quiet()
        runs = len(side.runs())
        assert len({run.partition("/")[0] for run in side.runs()}) == repeat["limit"]
        return runs

    await both(scenario, by_the_clock=True)


async def test_the_next_job_of_a_schedule_is_there_before_this_one_begins(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await schedule(side, "s", {"every": 3_600_000}, "ok", attempts=1)
            await side.until_state("completed")
            await side.quiet(leaving=("delayed",))
        return [event["event"] for event in side.events()]

    await both(scenario)


async def test_the_next_job_of_a_schedule_has_the_same_options_where_attempts_are_not_given(
    both: Both,
) -> None:
    async def scenario(side: Side) -> None:
        async with side.worker():
            await schedule(side, "s", {"every": 3_600_000}, "slow:30 | ok")
            await side.until_state("completed")
            await side.quiet(leaving=("delayed",))

    await both(scenario)


@pytest.mark.parametrize("name", ["plain", "a:b:c:d:e:f", "photo:7:::* * *"])
async def test_the_next_job_of_a_schedule_is_there_while_this_one_runs_whatever_the_name(
    both: Both, name: str
) -> None:
    async def scenario(side: Side) -> object:
        async with side.worker():
            await schedule(side, name, {"every": 3_600_000}, "gate:go | ok", attempts=1)
            await side.until(lambda: side.runs())
            await side.until_state("delayed")
            assert side.redis.zcard(side.key("repeat")) == 1
            side.open("go")
            await side.quiet(leaving=("delayed",))
            schedulers = await side.call("getJobSchedulers")
            kept = [(each["key"], each["every"], each["template"]) for each in schedulers]
            assert len(kept) == 1
            await side.call("removeJobScheduler", name)
            await side.quiet()
        return kept

    await both(scenario)


async def test_a_schedule_that_was_removed_ends_with_the_job_that_runs(both: Both) -> None:
    async def scenario(side: Side) -> None:
        async with side.worker():
            await schedule(side, "s", {"every": 3_600_000}, "gate:go | ok")
            await side.until(lambda: side.runs())
            await side.until_state("delayed")
            await side.call("removeJobScheduler", "s")
            side.open("go")
            await side.quiet()
        assert side.count("completed") == 1

    await both(scenario)


@pytest.mark.parametrize("removed", [False, True])
async def test_a_stalled_job_of_a_schedule_never_fails_while_the_schedule_exists(
    both: Both, removed: bool
) -> None:
    async def scenario(side: Side) -> int:
        await schedule(side, "s", {"every": 3_600_000}, "slow:30 | ok", attempts=1)
        (job_id,) = [
            key.removeprefix(side.key("")) for key in side.redis.scan_iter(side.key("repeat:s:*"), count=1000)
        ]
        if side.count("delayed"):
            side.redis.zrem(side.key("delayed"), job_id)
            side.redis.lpush(side.key("wait"), job_id)
        leave_stalled(side, job_id, times_before=5)
        if removed:
            side.redis.delete(side.key("repeat"), side.key("repeat:s"))
        async with side.worker():
            await side.until_state("failed" if removed else "completed")
            await side.quiet(leaving=("delayed",))
        return len(side.runs())

    await both(scenario)


async def test_a_repeatable_job_of_an_older_application_goes_on_with_its_data(sides: Both) -> None:
    """`queue.add` with `repeat`, as before there were schedulers."""

    async def scenario(side: Side) -> int:
        async with side.worker():
            await side.add("slow:30 | ok", repeat={"every": 250, "limit": 3}, attempts=1)
            await side.until_state("completed", 3)
            await side.quiet()
        assert len(side.runs()) == 3
        return len(side.runs())

    await sides(scenario, by_the_clock=True)


# --- metrics


async def test_the_numbers_of_ended_jobs_can_be_read_by_the_minute(both: Both) -> None:
    async def scenario(side: Side) -> list[object]:
        # Not where one minute becomes the next.
        await side.until(lambda: time.time() % 60 < 55)
        async with side.worker(metrics={"maxDataPoints": METRICS_MINUTES}):
            await side.add_all("ok", 3)
            await side.quiet()
            await side.add("fatal:FILE_CORRUPTED")
            await side.quiet()
            for state in ("completed", "failed"):
                side.redis.hincrby(side.key(f"metrics:{state}"), "prevTS", -180_000)
            await side.add("ok")
            await side.quiet()
            await side.add("fatal:FILE_CORRUPTED")
            await side.quiet()
        found = [await side.call("getMetrics", state) for state in ("completed", "failed")]
        for each in found:
            each["meta"].pop("prevTS")
        assert [each["meta"]["count"] for each in found] == [4, 2]
        assert len(found[0]["data"]) >= 3
        return found

    await both(scenario)
