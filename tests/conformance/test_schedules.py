"""Job schedulers by the clock: ends, zones, patterns that nobody can plan, a job taken in a repeated hour."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tests.conformance.conftest import Both, Side, photo


async def schedule(side: Side, name: str, repeat: dict[str, Any], script: str = "ok") -> None:
    await side.call(
        "upsertJobScheduler", name, repeat, {"name": "photo", "data": photo(script), "opts": {"attempts": 1}}
    )


def iterations(side: Side) -> list[int]:
    """The times of the jobs that were produced, in ms, from the ids of all that have run or will."""
    found = side.redis.zrange(side.key("completed"), 0, -1) + side.redis.zrange(side.key("delayed"), 0, -1)
    return sorted(int(job_id.rpartition(":")[2]) for job_id in found)


async def test_no_job_is_produced_after_the_end_of_a_pattern(both: Both) -> None:
    async def scenario(side: Side) -> None:
        end_ms = int(time.time() * 1000) + 2200
        async with side.worker():
            await schedule(side, "s", {"pattern": "* * * * * *", "endDate": end_ms})
            await side.until_state("completed")
            await side.quiet()
        # How many there are depends on when the schedule was made: a busy machine takes a second for that.
        assert max(iterations(side)) <= end_ms

    for side in (both.official, both.ours):
        await scenario(side)


@pytest.mark.parametrize("major", [5, 6])
@pytest.mark.parametrize("zone", ["europe/berlin", "UTC+2", "America/New_York", "local", None])
async def test_the_next_run_is_in_the_zone_that_the_application_named(
    sides: Both, zone: str | None, major: int
) -> None:
    """The application itself plans the first run; that the next one is a day later shows the same zone."""
    sides.produced_by(major)
    planned: dict[str, list[int]] = {}
    for side in (sides.official, sides.ours):
        repeat = {"pattern": "30 5 * * *"} | ({"tz": zone} if zone else {})
        await schedule(side, "s", repeat)
        [first] = side.redis.zrange(side.key("delayed"), 0, -1)
        await side.job(first, "promote")
        async with side.worker():
            await side.until_state("completed")
            await side.quiet(leaving=("delayed",))
        planned[side.kind] = iterations(side)
    assert planned["ours"] == planned["official"]
    first_ms, second_ms = planned["ours"]
    assert second_ms - first_ms in (23 * 3_600_000, 24 * 3_600_000, 25 * 3_600_000)


async def test_a_pattern_that_nobody_can_plan_is_kept_with_its_error_and_the_job_runs(ours: Side) -> None:
    await schedule(ours, "s", {"pattern": "0 0 1 1 *"})
    [job_id] = ours.redis.zrange(ours.key("delayed"), 0, -1)
    options = json.loads(ours.redis.hget(ours.key(job_id), "opts"))
    options["repeat"]["pattern"] = "0 0 * * L"
    ours.redis.hset(ours.key(job_id), "opts", json.dumps(options))
    await ours.job(job_id, "promote")
    async with ours.worker():
        await ours.until_state("completed")
        await ours.quiet()
    assert "L needs a weekday" in ours.redis.hget(ours.key("repeat:s"), "fastprocError")
    # BullMQ's own getters do not mind the field, and it goes with the record.
    [found] = await ours.call("getJobSchedulers")
    assert found["key"] == "s"
    await schedule(ours, "s", {"pattern": "0 0 2 1 *"})
    [job_id] = ours.redis.zrange(ours.key("delayed"), 0, -1)
    await ours.job(job_id, "promote")
    async with ours.worker():
        await ours.until_state("completed", 2)
        await ours.quiet(leaving=("delayed",))
    assert ours.redis.hget(ours.key("repeat:s"), "fastprocError") is None
    await ours.call("removeJobScheduler", "s")
    assert not ours.redis.exists(ours.key("repeat:s"))


async def test_a_repeatable_job_of_bullmq_4_runs_and_is_not_continued(
    sides: Both, caplog: pytest.LogCaptureFixture
) -> None:
    ours = sides.produced_by(4).ours
    await ours.add("ok", repeat={"pattern": "* * * * * *"})
    async with ours.worker():
        await ours.until_state("completed")
        await asyncio.sleep(1.2)
        await ours.quiet()
    assert len(ours.runs()) == 1
    assert "repeats by a rule of BullMQ 4 or older" in caplog.text
