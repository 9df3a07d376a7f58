"""Jobs that an operator cancels, wherever they are: real servers, a real service, a worker that is stuck."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

from fastproc.bullmq import scripts
from fastproc.bullmq.address import connector
from fastproc.bullmq.desk.queue_desk import QueueDesk
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config.redis import RedisConfig
from fastproc.core.acts import Cancel
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Start, eventually, frozen


def fastproc(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastproc", *words],
        env=place.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def cancel(place: Place, job_id: str, *words: str) -> dict[str, Any]:
    """Cancel by the command; return the outcome that it printed, and its exit code as `exit`."""
    found = fastproc(place, "cancel", job_id, "--json", *words)
    assert found.stdout, found.stderr
    outcome: dict[str, Any] = json.loads(found.stdout)
    return outcome | {"exit": found.returncode}


async def test_a_job_whose_worker_is_stuck_is_cancelled_and_no_other_is_touched(
    place: Place, start: Start, tmp_path: Any
) -> None:
    place.put("one.jpg", pictures.jpeg())
    place.listen()
    service = start(PREFETCH="1", QUARANTINE=str(tmp_path / "quarantine"))
    service.wait_ready()
    eventually(lambda: service.workers(), "a worker")
    [worker] = service.workers()
    with frozen(worker):
        stuck = await place.add({"photoId": "stuck", "s3Key": "one.jpg"}, attempts=3)
        eventually(lambda: place.job(stuck).get("progress") == "25", "the photo is with the worker")
        behind = await place.add({"photoId": "behind", "s3Key": "one.jpg"})
        eventually(lambda: place.job(behind).get("progress") == "25", "the next photo waits for it")
        began = time.monotonic()
        said = cancel(place, stuck, "--why", "it hangs")
        assert (said["ok"], said["count"], said["exit"]) == (True, 1, Exit.OK), said
        assert time.monotonic() - began < 10
    place.until("completed", behind)
    assert not worker.is_running()

    job = place.job(stuck)
    assert job["failedReason"] == "CANCELLED: an operator has cancelled the job: it hangs"
    assert (job["atm"], job.get("fastprocCancel", "")) == ("1", "")
    assert place.ids("failed") == [stuck]
    assert place.job(behind)["atm"] == "1"
    row = place.row("stuck")
    assert (row["processing_status"], row["processing_error"]) == ("failed", job["failedReason"])
    [failed] = [event for event in place.heard("stuck") if event["type"].endswith("failed")]
    assert failed["data"]["error"] == {
        "message": "an operator has cancelled the job: it hangs",
        "code": "CANCELLED",
        "retryable": False,
        "attempt": 1,
        "willRetry": False,
    }
    assert not list((tmp_path / "quarantine").glob("**/*.json"))
    assert "is in quarantine" not in service.said

    # What a dashboard or the operator retries runs: the mark is void, and the death was not the photo's.
    found = fastproc(place, "retry", stuck)
    assert (found.returncode, found.stdout) == (Exit.OK, "1 of 1 jobs run again\n")
    place.until("completed", stuck)
    eventually(lambda: "fastprocCancel" not in place.job(stuck), "the mark is removed")
    assert place.redis.exists(place.key("fastproc:cancel")) == 0
    assert service.terminate() == Exit.OK


async def test_jobs_that_wait_in_any_way_are_cancelled_at_once_though_the_queue_is_paused(
    place: Place, start: Start
) -> None:
    data = {"photoId": "w", "s3Key": "gone.jpg"}
    place.redis.hset(place.key("meta"), "version", "bullmq:5.81.5")
    assert (
        fastproc(place, "pause").stdout == "the queue is paused: no worker takes a job, those in hand go on\n"
    )
    waiting = {
        "paused": await place.add({**data, "photoId": "paused"}),
        "delayed": await place.add({**data, "photoId": "delayed"}, delay=3_600_000),
        "prioritized": await place.add({**data, "photoId": "prioritized"}, priority=7),
        "parent": await place.add({**data, "photoId": "parent"}),
    }
    # As FlowProducer leaves a parent whose child has not ended.
    place.redis.lrem(place.key("paused"), 1, waiting["parent"])
    place.redis.zadd(place.key("waiting-children"), {waiting["parent"]: 1})
    place.redis.sadd(place.key(f"{waiting['parent']}:dependencies"), "bull:another:1")
    left = await place.add({**data, "photoId": "left"})
    place.listen()
    service = start()
    service.wait_ready()
    for photo, job_id in waiting.items():
        said = cancel(place, job_id)
        assert said["ok"], said
        assert place.job(job_id)["failedReason"] == "CANCELLED: an operator has cancelled the job"
        assert place.row(photo)["processing_status"] == "failed"
    assert sorted(place.ids("failed")) == sorted(waiting.values())
    heard = []
    while message := place.events.get_message(timeout=0.2):
        heard.append(json.loads(message["data"]))
    assert [event["data"]["photoId"] for event in heard] == list(waiting)
    assert {event["type"].rpartition(".")[2] for event in heard} == {"failed"}
    assert place.redis.lrange(place.key("paused"), 0, -1) == [left]
    assert place.redis.zcard(place.key("delayed")) == place.redis.zcard(place.key("prioritized")) == 0
    assert place.locks() == []
    assert service.terminate() == Exit.OK


async def test_whatever_the_moment_a_job_is_cancelled_or_completed_and_never_both(
    place: Place, start: Start
) -> None:
    place.put("one.jpg", pictures.jpeg(1600, 1200))
    place.listen()
    service = start(PREFETCH="2")
    service.wait_ready()
    ids = [await place.add({"photoId": f"r-{n}", "s3Key": "one.jpg"}) for n in range(60)]
    keys = Keys("bull", place.queue)
    pipe = Pipe(connector(RedisConfig(host=place.valkey.host, port=place.valkey.port), keys.base))
    await pipe.open()
    desk = QueueDesk(pipe.call, keys, scripts.load())
    said = await asyncio.gather(*(desk.act(Cancel(job=job_id)) for job_id in ids))
    await pipe.close()
    eventually(lambda: len(place.ids("failed")) + len(place.ids("completed")) == 60, "all have ended")
    cancelled = {job_id for job_id, outcome in zip(ids, said, strict=True) if outcome.ok}
    assert cancelled == set(place.ids("failed"))
    assert len(cancelled) > 10
    ends: dict[str, set[str]] = {}
    while message := place.events.get_message(timeout=0.3):
        event = json.loads(message["data"])
        kind = event["type"].rpartition(".")[2]
        if kind in ("completed", "failed"):
            ends.setdefault(event["data"]["jobId"], set()).add(kind)
    for number, job_id in enumerate(ids):
        end = "failed" if job_id in cancelled else "completed"
        assert ends[job_id] == {end}
        assert place.row(f"r-{number}")["processing_status"] == end
    eventually(lambda: not place.redis.exists(place.key("fastproc:cancel")), "nothing is left of the orders")
    assert not [job_id for job_id in ids if "fastprocCancel" in place.job(job_id)]
    assert place.locks() == []
    assert service.terminate() == Exit.OK
