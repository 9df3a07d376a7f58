"""What a completed job leaves: value, times, events, and how much is kept. Checklist nos. 19 to 27."""

from __future__ import annotations

import json

import pytest

from tests.conformance.conftest import Both, Side
from tests.conformance.peer import PeerError

VALUES = [
    '{"a":{"b":[1,2.5,null,true]}}',
    '"Straße 東京 \\u0001"',
    "0",
    "-1.5",
    '""',
    "[]",
    "false",
    "null",
    "",
]


async def test_a_return_value_is_the_same_json_in_the_job_and_in_its_event(both: Both) -> None:
    async def scenario(side: Side) -> list[object]:
        await side.listen()
        for value in VALUES:
            await side.add(f"ok:{value}")
        async with side.worker():
            await side.quiet()
        await side.until_heard("completed", len(VALUES))
        heard = {said["jobId"]: said["returnvalue"] for said in await side.heard("completed")}
        jobs = [await side.job(str(number + 1)) for number in range(len(VALUES))]
        values = [job["returnvalue"] for job in jobs]
        assert values == [json.loads(value or "null") for value in VALUES]
        assert [heard[job["id"]] for job in jobs] == values
        return values

    await both(scenario)


async def test_a_completed_job_says_when_it_ran_how_often_and_by_whom(both: Both) -> None:
    async def scenario(side: Side) -> None:
        job_id = await side.add("slow:20 | ok")
        async with side.worker(name="somebody"):
            await side.quiet()
        job = side.redis.hgetall(side.key(job_id))
        begun, ended = int(job["processedOn"]), int(job["finishedOn"])
        assert int(job["timestamp"]) <= begun <= ended - 19
        assert side.redis.zscore(side.key("completed"), job_id) == ended
        assert (job["atm"], job["ats"], job["pb"]) == ("1", "1", "somebody")
        assert (await side.job(job_id))["processedBy"] == "somebody"

    await both(scenario)


async def test_who_waits_for_a_job_gets_its_value_or_its_reason_even_afterwards(both: Both) -> None:
    async def scenario(side: Side) -> list[object]:
        await side.listen()
        good = await side.add('gate:go | ok:{"n":1}')
        bad = await side.add("fatal:FILE_CORRUPTED")
        async with side.worker():
            await side.until_state("active")
            side.open("go")
            said: list[object] = [await side.finished(good)]
            with pytest.raises(PeerError, match=r"^FILE_CORRUPTED: attempt 1 went wrong$"):
                await side.finished(bad)
            await side.quiet()
            said.append(await side.finished(good))
        assert said == [{"n": 1}, {"n": 1}]
        return said

    await both(scenario)


@pytest.mark.parametrize("ending", ["ok", "fatal:FILE_CORRUPTED"])
@pytest.mark.parametrize(
    "keep",
    [True, False, 0, 2, {"count": 1}, {"age": 60}, {"age": 60, "count": 2}, {"age": 60, "limit": 2}],
    ids=str,
)
async def test_finished_jobs_are_kept_as_the_job_says(both: Both, ending: str, keep: object) -> None:
    async def scenario(side: Side) -> list[str]:
        target, option = ("completed", "removeOnComplete") if ending == "ok" else ("failed", "removeOnFail")
        await side.listen()
        async with side.worker():
            await side.add_all(ending, 5, jobId="old")
            await side.quiet()
            # An hour older, and each with a time of its own.
            for job_id, score in side.redis.zrange(side.key(target), 0, -1, withscores=True):
                side.redis.zadd(side.key(target), {job_id: int(job_id[4:]) + int(score) - 3_600_000})
            await side.add_all(ending, 3, jobId="new", **{option: keep})
            await side.quiet()
        await side.until_heard(target, 8)
        left = sorted(side.redis.zrange(side.key(target), 0, -1))
        # No hash without its place in the set.
        assert left == sorted(
            key.rpartition(":")[2] for key in side.redis.scan_iter(side.key("*-?"), count=1000)
        )
        return left

    await both(scenario)


@pytest.mark.parametrize("own", [None, False, True, 3])
async def test_the_workers_rule_for_keeping_counts_where_the_job_has_none(both: Both, own: object) -> None:
    async def scenario(side: Side) -> None:
        opts = {} if own is None else {"removeOnComplete": own, "removeOnFail": own}
        for _ in range(4):
            await side.add("ok", **opts)
            await side.add("fatal:FILE_CORRUPTED", **opts)
        async with side.worker(removeOnComplete={"count": 2}, removeOnFail={"count": 1}):
            await side.quiet()

    await both(scenario)


async def test_the_end_of_a_job_takes_its_lock_and_its_mark_of_stalling_away(both: Both) -> None:
    async def scenario(side: Side) -> None:
        job_id = await side.add("gate:go | ok")
        async with side.worker():
            await side.until_state("active")
            assert 25_000 < side.redis.pttl(side.key(f"{job_id}:lock")) <= 30_000
            side.redis.sadd(side.key("stalled"), job_id)
            side.open("go")
            await side.quiet()
            assert not side.redis.exists(side.key("stalled"), side.key(f"{job_id}:lock"))

    await both(scenario)


async def test_the_queue_is_drained_once_after_its_last_job(both: Both) -> None:
    async def scenario(side: Side) -> None:
        async with side.worker():
            await side.add_all("slow:20 | ok", 3)
            await side.quiet()
            assert len(side.events("drained")) == 1
            await side.add("ok", delay=400)
            await side.add("ok")
            await side.until_state("completed", 4)
            assert len(side.events("drained")) == 1
            await side.quiet()
            assert len(side.events("drained")) == 2

    await both(scenario)


async def test_the_events_of_one_happy_job_are_these_five(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        async with side.worker():
            await side.add("ok")
            await side.quiet()
        names = [event["event"] for event in side.events()]
        assert names == ["added", "waiting", "active", "completed", "drained"]
        return names

    await both(scenario)
