"""Looking at jobs and giving orders from the shell: real jobs, real commands."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fastproc.bullmq import scripts
from fastproc.bullmq.address import connector
from fastproc.bullmq.desk import reading
from fastproc.bullmq.desk.queue_desk import QueueDesk
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config.redis import RedisConfig
from fastproc.core.acts import RetryJobs
from fastproc.core.job_view import JobDetail
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Start
from tests.integration.test_cancel import fastproc


@asynccontextmanager
async def desk(place: Place) -> AsyncIterator[QueueDesk]:
    keys = Keys("bull", place.queue)
    pipe = Pipe(connector(RedisConfig(host=place.valkey.host, port=place.valkey.port), keys.base))
    await pipe.open()
    try:
        yield QueueDesk(pipe.call, keys, scripts.load())
    finally:
        await pipe.close()


def failed(place: Place, count: int, code: str, first: int = 1) -> None:
    """Jobs that have failed, as BullMQ leaves them."""
    now = time.time_ns() // 1_000_000
    with place.redis.pipeline() as pipe:
        for number in range(first, first + count):
            fields = {
                "name": "n", "opts": "{}", "timestamp": now, "finishedOn": now, "atm": 1,
                "data": json.dumps({"photoId": f"p-{number}", "s3Key": "k"}), "failedReason": f"{code}: so",
            }  # fmt: skip
            pipe.hset(place.key(str(number)), mapping=fields)
            pipe.zadd(place.key("failed"), {str(number): now + number})
        pipe.execute()


def on_a_terminal(place: Place, answer: str, *words: str) -> tuple[int, str]:
    """Run a command at a terminal of 60 columns and answer its question."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastproc", *words],
        env=place.environment | {"COLUMNS": "60"},
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(its)
    os.write(ours, f"{answer}\n".encode())
    said, _ = process.communicate(timeout=30)
    os.close(ours)
    return process.returncode, said


async def test_a_job_is_found_by_its_id_and_by_its_photo_with_all_that_is_known(
    place: Place, start: Start
) -> None:
    place.put("one.jpg", pictures.jpeg(800, 600))
    start()
    first = await place.add({"photoId": "lake", "s3Key": "one.jpg", "clientId": 7}, attempts=2)
    wrong = await place.add({"photoId": "gone", "s3Key": "gone.jpg"})
    place.until("completed", first)
    place.until("failed", wrong)
    async with desk(place) as orders:
        found = await orders.look_up("lake")
        assert isinstance(found.job, JobDetail)
        assert found.whole
        assert found.looked == 2
        assert found.job == await orders.find(first)
        assert await orders.find("nobody") is None
    job = found.job
    assert (job.id, job.state, job.photo, job.key, job.client_id) == (
        first,
        "completed",
        "lake",
        "one.jpg",
        "7",
    )
    assert (job.attempts_made, job.attempts, job.progress, job.code, job.cancel) == (1, 2, 100, "", "")
    assert 0 < job.added_at_ms <= job.taken_at_ms <= job.ended_at_ms
    assert job.worker.startswith("fastproc-")
    assert {"validation", "thumbnails"} <= {each.stage for each in job.stages}
    assert [each.name for each in job.renditions] == ["thumb_sm", "thumb_md", "thumb_lg"]
    assert job.renditions[0].key.startswith("thumbnails/lake/thumb_sm_")
    assert job.return_value["photoId"] == "lake"

    shown = fastproc(place, "jobs", "lake")
    assert shown.returncode == Exit.OK, shown.stderr
    assert shown.stdout.startswith(f"job {first} of photo lake: completed\n")
    assert "stage    thumbnails" in shown.stdout
    nobody = fastproc(place, "jobs", "nobody")
    assert (nobody.returncode, nobody.stdout) == (Exit.PHOTOS_FAILED, "")
    assert nobody.stderr == "nobody: no job of that id, and none of that photo among 2 jobs\n"

    listed = fastproc(place, "jobs", "--code", "object_not_found", "--json")
    [row] = [json.loads(line) for line in listed.stdout.splitlines()]
    assert (row["id"], row["photo"], row["code"], row["state"]) == (
        wrong,
        "gone",
        "OBJECT_NOT_FOUND",
        "failed",
    )
    assert fastproc(place, "jobs", "--code", "FILE_CORRUPTED").stdout.endswith(
        "no job is failed FILE_CORRUPTED\n"
    )
    assert fastproc(place, "jobs", "waiting", "--code", "FILE_CORRUPTED").returncode == Exit.USAGE


async def test_jobs_that_wait_are_listed_in_the_order_in_which_they_will_be_taken(place: Place) -> None:
    ids = [await place.add({"photoId": f"a-rather-long-name-of-a-photo-{n}", "s3Key": "k"}) for n in range(5)]
    due = [await place.add({"photoId": "later", "s3Key": "k"}, delay=ms) for ms in (900_000, 60_000)]
    async with desk(place) as orders:
        assert [row.id for row in await orders.jobs("waiting")] == ids
        assert [row.id for row in await orders.jobs("waiting", offset=1, limit=2)] == ids[1:3]
        assert [row.id for row in await orders.jobs("delayed")] == due[::-1]
        [soon, _] = await orders.jobs("delayed")
        assert soon.due_at_ms == soon.added_at_ms + 60_000
        now = await orders.now()
        assert (now.counts["waiting"], now.counts["delayed"], now.paused, now.held) == (5, 2, False, "")
        fastproc(place, "pause")
        now = await orders.now()
        assert (now.paused, now.held, now.counts["paused"]) == (True, "the queue is paused", 5)
        assert (now.counts["waiting"], now.waiting) == (5, 5), "none is counted twice"
        assert [row.id for row in await orders.jobs("waiting", offset=3)] == ids[3:]
    place.environment["COLUMNS"] = "60"
    for state in ("waiting", "delayed"):
        shown = fastproc(place, "jobs", state).stdout
        assert max(map(len, shown.splitlines())) <= 60, shown
        assert {"job", "photo", "try", "about"} <= set(shown.split())


async def test_a_look_up_by_photo_is_bounded_and_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOKED_AT", 400)
    failed(place, 450, "FILE_CORRUPTED")
    async with desk(place) as orders:
        # The oldest are beyond what is looked at.
        lost, found = await orders.look_up("p-50"), await orders.look_up("p-51")
    assert (lost.job, lost.looked, lost.whole) == (None, 400, False)
    assert found.job
    assert found.job.id == "51"


async def test_failed_jobs_are_retried_by_code_after_a_question(place: Place) -> None:
    failed(place, 12, "FILE_CORRUPTED")
    failed(place, 3, "STORAGE_UNAVAILABLE", first=13)
    alone = fastproc(place, "retry", "--code", "FILE_CORRUPTED")
    assert alone.returncode == Exit.USAGE
    assert "Nobody can be asked here: say --yes" in alone.stderr
    code, said = on_a_terminal(place, "n", "retry", "--code", "FILE_CORRUPTED")
    assert (code, "12 failed jobs of FILE_CORRUPTED run again?" in said) == (Exit.PHOTOS_FAILED, True)
    assert place.redis.zcard(place.key("failed")) == 15
    code, said = on_a_terminal(place, "y", "retry", "--code", "FILE_CORRUPTED", "--limit", "10")
    assert (code, said.rpartition("]: ")[2]) == (Exit.OK, "10 of 10 jobs run again\n")
    # The oldest failures go first, and wait in that order.
    assert place.redis.lrange(place.key("wait"), 0, -1) == [str(n) for n in range(10, 0, -1)]
    told = fastproc(place, "retry", "--all", "--yes", "--json")
    assert json.loads(told.stdout) == {"ok": True, "count": 5, "text": "5 of 5 jobs run again", "hosts": {}}
    none = fastproc(place, "retry", "--all")
    assert (none.returncode, none.stdout) == (Exit.OK, "no such job has failed\n")
    wrong = fastproc(place, "retry", "1", "nobody")
    assert (wrong.returncode, wrong.stdout) == (
        Exit.PHOTOS_FAILED,
        "0 of 2 jobs run again; not: 1 (it is waiting), nobody (there is no such job)\n",
    )
    assert fastproc(place, "retry").returncode == Exit.USAGE
    assert fastproc(place, "retry", "1", "--all").returncode == Exit.USAGE


async def test_many_failed_jobs_are_retried_in_short_calls(place: Place) -> None:
    failed(place, 3000, "FILE_CORRUPTED")
    # As many in one millisecond as two pages have, and as many with a millisecond of their own.
    now = time.time_ns() // 1_000_000
    place.redis.zadd(place.key("failed"), {str(n): now if n < 501 else now + n for n in range(1, 3001)})
    place.redis.config_resetstat()
    async with desk(place) as orders:
        chosen = await orders.chosen(RetryJobs(code="FILE_CORRUPTED"))
        assert len(chosen) == len(set(chosen)) == 3000
        outcome = await orders.act(RetryJobs(code="FILE_CORRUPTED"))
    assert (outcome.ok, outcome.count) == (True, 3000)
    stats = place.redis.info("commandstats")
    # A job a call: none of them can be long.
    assert stats["cmdstat_evalsha"]["calls"] >= 3000
    assert "cmdstat_eval" not in stats


async def test_what_waits_is_drained_after_a_question(place: Place) -> None:
    for options in ({}, {"priority": 2}, {"delay": 900_000}):
        await place.add({"photoId": "p", "s3Key": "k"}, **options)
    assert fastproc(place, "drain").returncode == Exit.USAGE
    code, said = on_a_terminal(place, "y", "drain")
    assert "Remove the jobs that wait (1 waiting, 1 prioritized)?" in said
    assert (code, said.rpartition("]: ")[2]) == (Exit.OK, "2 jobs that waited are removed\n")
    told = fastproc(place, "drain", "--delayed", "--yes", "--json")
    assert json.loads(told.stdout)["count"] == 1
    assert fastproc(place, "drain").stdout == "no job waits\n"


async def test_a_pause_that_is_there_already_is_said_to_be(place: Place) -> None:
    # As the application's first connection leaves it.
    place.redis.hset(place.key("meta"), "version", "bullmq:5.81.5")
    assert fastproc(place, "resume").stdout == "the queue was not paused\n"
    assert json.loads(fastproc(place, "pause", "--json").stdout)["count"] == 1
    assert fastproc(place, "pause").stdout == "the queue was paused before\n"
    # BullMQ 6 adds to the first list meanwhile, BullMQ 5 to the second: its own `resume` would lose one of them.
    place.redis.lpush(place.key("wait"), "6")
    place.redis.lpush(place.key("paused"), "5b", "5a")
    assert fastproc(place, "resume").stdout == "the queue is served again\n"
    assert sorted(place.redis.lrange(place.key("wait"), 0, -1)) == ["5a", "5b", "6"]
    assert place.redis.exists(place.key("paused")) == 0
    assert place.redis.zrange(place.key("marker"), 0, -1) == ["0"]
