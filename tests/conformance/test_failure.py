"""Failed attempts: reasons, retries, delays, limits. Checklist nos. 28 to 42."""

from __future__ import annotations

import json

import pytest

from tests.conformance.conftest import Both, Side

AWAY = "fail:STORAGE_UNAVAILABLE"


def named(side: Side, *names: str) -> list[str]:
    return [event["event"] for event in side.events(*names)]


@pytest.mark.parametrize("opts", [{}, {"attempts": 0}, {"attempts": 1}], ids=str)
async def test_a_job_of_one_attempt_fails_with_its_reason_and_one_stack_entry(
    both: Both, opts: dict[str, int]
) -> None:
    async def scenario(side: Side) -> list[str]:
        job_id = await side.add(AWAY, **opts)
        async with side.worker():
            await side.quiet()
        job = side.redis.hgetall(side.key(job_id))
        assert job["failedReason"] == "STORAGE_UNAVAILABLE: attempt 1 went wrong"
        assert len(json.loads(job["stacktrace"])) == 1
        assert named(side, "failed", "retries-exhausted") == ["failed", "retries-exhausted"]
        return named(side)

    await both(scenario)


async def test_a_job_that_always_fails_runs_as_often_as_it_may(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        job_id = await side.add(AWAY, attempts=3)
        async with side.worker():
            await side.quiet()
        job = side.redis.hgetall(side.key(job_id))
        assert (job["atm"], job["ats"], len(json.loads(job["stacktrace"]))) == ("3", "3", 3)
        assert side.runs() == [f"{job_id}/1", f"{job_id}/2", f"{job_id}/3"]
        return side.runs()

    await both(scenario)


async def test_a_job_that_succeeds_at_last_is_completed_without_exhausted_retries(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("fail-then-ok:1 | ok:1", attempts=3)
        async with side.worker():
            await side.quiet()
        assert named(side, "completed", "failed", "retries-exhausted") == ["completed"]
        return named(side)

    await both(scenario)


async def test_a_retry_without_backoff_waits_in_the_queue_with_its_reason_saved(both: Both) -> None:
    async def scenario(side: Side) -> object:
        await side.add("fail-then-ok:1 | gate:go | ok", attempts=2)
        await side.add("gate:between | ok")
        async with side.worker():
            await side.until(lambda: len(side.runs()) == 2)
            job = side.redis.hgetall(side.key("1"))
            assert job["failedReason"] == "STORAGE_UNAVAILABLE: attempt 1 went wrong"
            assert side.redis.lrange(side.key("wait"), 0, -1) == ["1"]
            side.open("between")
            side.open("go")
            await side.quiet()
        return side.runs()

    await both(scenario)


async def test_a_retried_lifo_job_runs_again_before_the_others(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("ok")
        await side.add("fail-then-ok:1 | ok", lifo=True, attempts=2)
        async with side.worker():
            await side.quiet()
        assert side.runs() == ["2/1", "2/2", "1/1"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (150, [150, 150]),
        ({"type": "fixed", "delay": 150}, [150, 150]),
        ({"type": "exponential", "delay": 100}, [100, 200]),
        ({"type": "exponential", "delay": 150, "jitter": 0.5}, [(75, 150), (150, 300)]),
        # (Of a jitter of 1, one delay in 400 rounds to zero: then the job does not wait, and there is no "delayed".)
        ({"type": "fixed", "delay": 200, "jitter": 0.9}, [(20, 200), (20, 200)]),
    ],
    ids=str,
)
async def test_a_retry_waits_as_long_as_its_backoff_says(
    both: Both, backoff: object, delays: list[object]
) -> None:
    async def scenario(side: Side) -> list[str]:
        job_id = await side.add("fail-then-ok:2 | ok", attempts=3, backoff=backoff)
        async with side.worker():
            await side.quiet()
        # "delayed" tells when the job is due. Its delay counts from a moment between its attempt's beginning and that
        # event, which are far apart on a busy machine; the ids of the entries are the clock of server and worker.
        began, waits = 0, []
        for entry, fields in side.redis.xrange(side.key("events")):
            at = int(entry.partition("-")[0])
            if fields["event"] == "active":
                began = at
            elif fields["event"] == "delayed":
                waits.append((int(fields["delay"]) - at, int(fields["delay"]) - began))
        for (shortest, longest), wanted in zip(waits, delays, strict=True):
            least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            assert shortest <= most + 1
            assert longest >= least - 1
        assert side.runs() == [f"{job_id}/{attempt}" for attempt in (1, 2, 3)]
        return named(side)

    await both(scenario)


async def test_delays_with_jitter_differ(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add(AWAY, attempts=7, backoff={"type": "fixed", "delay": 60, "jitter": 1})
        async with side.worker():
            await side.quiet()
        waited = [
            int(fields["delay"]) - int(entry.partition("-")[0])
            for entry, fields in side.redis.xrange(side.key("events"))
            if fields["event"] == "delayed"
        ]
        assert max(waited, default=0) <= 61
        assert min(waited) < 50
        return side.runs()

    for side in (both.official, both.ours):
        await scenario(side)


async def test_the_delay_of_a_retry_can_be_read_from_the_job(both: Both) -> None:
    async def scenario(side: Side) -> int:
        job_id = await side.add(
            "fail-then-ok:1 | ok", attempts=2, backoff={"type": "exponential", "delay": 400}
        )
        async with side.worker():
            await side.until_state("delayed")
            job = await side.job(job_id)
            state = await side.job(job_id, "getState")
            await side.quiet()
        assert (job["delay"], job["attemptsMade"], state) == (400, 1, "delayed")
        assert job["failedReason"] == "STORAGE_UNAVAILABLE: attempt 1 went wrong"
        return job["delay"]

    await both(scenario)


@pytest.mark.parametrize("backoff", [-1, {"type": "fixed", "delay": -1}], ids=str)
async def test_a_backoff_of_minus_one_fails_the_job_at_once(both: Both, backoff: object) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add(AWAY, attempts=3, backoff=backoff)
        async with side.worker():
            await side.quiet()
        assert side.count("failed") == 1
        return side.runs()

    await both(scenario)


async def test_an_error_that_must_not_be_retried_fails_the_job_at_once(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("fatal:UNSUPPORTED_FORMAT", attempts=3)
        async with side.worker():
            await side.quiet()
        assert named(side, "failed", "retries-exhausted") == ["failed"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("limit", [0, 1, 2, 9])
async def test_only_the_newest_stack_entries_are_kept(both: Both, limit: int) -> None:
    async def scenario(side: Side) -> int:
        job_id = await side.add(AWAY, attempts=3, stackTraceLimit=limit)
        async with side.worker():
            await side.quiet()
        kept = len(json.loads(side.redis.hget(side.key(job_id), "stacktrace")))
        assert kept == min(limit, 3)
        return kept

    await both(scenario)


async def test_a_retried_job_keeps_its_priority(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("fail-then-ok:1 | ok", jobId="first", priority=1, attempts=2)
        await side.add("ok", jobId="second", priority=5)
        await side.add("fail-then-ok:1 | ok", jobId="plain", attempts=2)
        async with side.worker():
            await side.quiet()
        assert side.runs() == ["plain/1", "plain/2", "first/1", "first/2", "second/1"]
        return side.runs()

    await both(scenario)


async def test_due_jobs_go_before_a_job_that_is_put_back(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("slow:150 | fail-then-ok:1 | ok", jobId="again", attempts=2)
        async with side.worker():
            await side.until_state("active")
            await side.add("ok", jobId="due", delay=20)
            await side.quiet()
        assert side.runs() == ["again/1", "due/1", "again/2"]
        return side.runs()

    await both(scenario)


async def test_a_retry_in_a_paused_queue_waits_for_its_resumption(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("gate:go | fail-then-ok:1 | ok", attempts=2)
        async with side.worker():
            await side.until_state("active")
            await side.call("pause")
            side.open("go")
            await side.until(lambda: side.count("wait") + side.count("paused") == 1)
            await side.quiet(leaving=("wait", "paused"))
            assert side.runs() == ["1/1"]
            await side.call("resume")
            await side.quiet()
        assert side.runs() == ["1/1", "1/2"]
        return side.runs()

    await both(scenario)


async def test_a_failed_job_that_is_retried_by_hand_runs_again(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add("fail-then-ok:2 | ok", attempts=2)
        async with side.worker():
            await side.quiet()
            assert side.count("failed") == 1
            await side.job("1", "retry", "failed")
            await side.quiet()
        assert side.runs() == ["1/1", "1/2", "1/3"]
        return side.runs()

    await both(scenario)


async def test_a_job_retried_by_hand_can_start_its_attempts_anew(both: Both) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add(AWAY, attempts=2)
        async with side.worker():
            await side.quiet()
            await side.job("1", "retry", "failed", {"resetAttemptsMade": True, "resetAttemptsStarted": True})
            await side.quiet()
        assert side.runs() == ["1/1", "1/2", "1/1", "1/2"]
        return side.runs()

    await both(scenario)


@pytest.mark.parametrize("ending", ["ok", "fatal:FILE_CORRUPTED", AWAY])
async def test_a_job_that_is_removed_while_it_runs_does_no_harm(both: Both, ending: str) -> None:
    async def scenario(side: Side) -> list[str]:
        await side.add(f"gate:go | {ending}", attempts=2)
        async with side.worker():
            await side.until_state("active")
            await side.call("obliterate", {"force": True})
            side.open("go")
            await side.add("ok", jobId="next")
            await side.quiet()
        assert side.runs() == ["1/1", "next/1"]
        return side.runs()

    await both(scenario)


async def test_the_newest_log_rows_are_kept_and_progress_is_heard(both: Both) -> None:
    async def scenario(side: Side) -> list[object]:
        await side.listen()
        rows = " | ".join(f"log:row {n}" for n in range(5))
        kept = await side.add(f"{rows} | progress:50 | ok", keepLogs=2)
        full = await side.add(f"{rows} | progress:10 | progress:99 | ok")
        async with side.worker():
            await side.quiet()
        await side.until_heard("progress", 3)
        logs = [await side.call("getJobLogs", job_id) for job_id in (kept, full)]
        assert logs[0] == {"logs": ["row 3", "row 4"], "count": 2}
        assert logs[1]["count"] == 5
        heard = [said["data"] for said in await side.heard("progress")]
        assert heard == [50, 10, 99]
        return [logs, heard, (await side.job(full))["progress"]]

    await both(scenario)


async def test_the_event_stream_is_capped_whatever_the_progress(both: Both) -> None:
    async def scenario(side: Side) -> None:
        await side.add("progress-times:350 | ok")
        side.redis.hset(side.key("meta"), "opts.maxLenEvents", 10)
        async with side.worker():
            await side.quiet()
        length = side.redis.xlen(side.key("events"))
        # Nodes of a stream hold 100 entries, and only whole ones are cut off: how many are left depends on the moment.
        assert length < 250
        side.redis.xtrim(side.key("events"), maxlen=10, approximate=False)

    await both(scenario)
