"""Each invariant finds what breaks it, and finds nothing in a world that is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.invariants import Added, Process, Stored, World

GOOD = Added(id="1", photo_id="good", timestamp_ms=7)
BAD = Added(id="2", photo_id="bad", timestamp_ms=7, ends="FILE_CORRUPTED")
REASON = "FILE_CORRUPTED: cut short"
THUMBNAILS = [
    {"name": name, "s3Key": f"thumbnails/good/{name}_7.jpg", "fileSize": 10} for name in invariants.THUMBNAILS
]


def event(job_id: str, kind: str, **data: Any) -> dict[str, Any]:
    return {
        "id": f"{job_id}:{kind}:1",
        "type": f"photo.processing.{kind}",
        "data": {"jobId": job_id, "photoId": "?", **data},
    }


def right() -> World:
    """One completed job and one that failed as it must; the completed event was received twice."""
    completed = event("1", "completed", thumbnails=THUMBNAILS)
    return World(
        jobs={
            "1": {"atm": "1", "returnvalue": json.dumps({"thumbnails": THUMBNAILS})},
            "2": {"atm": "1", "failedReason": REASON, "stacktrace": json.dumps([REASON])},
        },
        states={"wait": [], "active": [], "delayed": [], "completed": ["1"], "failed": ["2"]},
        locks=(),
        objects={each["s3Key"]: Stored(10, "abc", True) for each in THUMBNAILS},
        rows={
            "good": {
                "processing_status": "completed",
                "processing_error": None,
                "processing_metadata": json.dumps({"thumbnails": THUMBNAILS}),
            },
            "bad": {"processing_status": "failed", "processing_error": REASON},
        },
        events=[completed, completed, event("2", "failed", error={"willRetry": False})],
        lines=[],
    )


def with_job(world: World, job_id: str, **fields: str) -> World:
    return structs.replace(world, jobs={**world.jobs, job_id: {**world.jobs[job_id], **fields}})


def with_states(world: World, **states: list[str]) -> World:
    return structs.replace(world, states={**world.states, **states})


def with_row(world: World, photo_id: str, **fields: Any) -> World:
    return structs.replace(world, rows={**world.rows, photo_id: {**world.rows[photo_id], **fields}})


def with_object(world: World, key: str, stored: Stored) -> World:
    return structs.replace(world, objects={**world.objects, key: stored})


def more_events(world: World, *events: dict[str, Any]) -> World:
    return structs.replace(world, events=[*world.events, *events])


KEY = THUMBNAILS[0]["s3Key"]
#: What is wrong -> the world in which it is, and words of the sentence that must say so.
BROKEN: dict[str, tuple[Callable[[World], World], str]] = {
    "a job is still active": (lambda w: with_states(w, active=["1"], completed=[]), "job 1 is still active"),
    "a job is in no list": (lambda w: with_states(w, completed=[]), "job 1 is in no list"),
    "a job is in two lists": (lambda w: with_states(w, failed=["1", "2"]), "job 1 is in ["),
    "a job waits": (lambda w: with_states(w, wait=["9"]), "job 9 is still wait"),
    "a lock is left": (lambda w: structs.replace(w, locks=["1"]), "job 1 is locked"),
    "no reason": (lambda w: with_job(w, "2", failedReason=""), "without a reason"),
    "an innocent failed": (
        lambda w: with_job(with_states(w, completed=[], failed=["1", "2"]), "1", failedReason="POISON_PHOTO: x"),
        "job 1 is innocent and was not completed",
    ),
    "a wrong code": (lambda w: with_job(w, "2", failedReason="WORKER_CRASHED: x"), "must fail with FILE_CORRUPTED"),
    "no event": (lambda w: structs.replace(w, events=w.events[:2]), "job 2 has no event of its end"),
    "two ends": (lambda w: more_events(w, event("1", "failed", error={})), "job 1 has several ends"),
    "an end that is not the job's": (
        lambda w: structs.replace(w, events=[event("1", "failed", error={}), w.events[2]]),
        "job 1 is completed, its event says",
    ),
    "one id, two types": (
        lambda w: more_events(w, {**event("1", "started"), "id": "1:completed:1"}),
        "is of two types",
    ),
    "a missing object": (
        lambda w: structs.replace(w, objects={k: v for k, v in w.objects.items() if k != KEY}),
        f"{KEY} is missing",
    ),
    "an orphan": (lambda w: with_object(w, "thumbnails/x/y.jpg", Stored(1, "", True)), "is nobody's"),
    "a broken object": (lambda w: with_object(w, KEY, Stored(10, "", False)), "cannot be decoded"),
    "another size": (lambda w: with_object(w, KEY, Stored(11, "", True)), "has 11 bytes"),
    "another row": (lambda w: with_row(w, "good", processing_metadata='{"thumbnails": []}'), "row and its return"),
    "a row that is behind": (lambda w: with_row(w, "good", processing_status="processing"), "its row says processing"),
    "a row with another reason": (lambda w: with_row(w, "bad", processing_error="x"), "its row says failed (x)"),
    "another event": (lambda w: more_events(w, event("1", "completed", thumbnails=[])), "event and its return"),
    "an attempt too many": (lambda w: with_job(w, "1", atm="2"), "job 1 is innocent: 2 attempts made"),
    "a stacktrace": (lambda w: with_job(w, "1", stacktrace='["x"]'), "job 1 is innocent: 1 attempts made"),
}  # fmt: skip


def test_a_world_that_is_right_breaks_nothing() -> None:
    assert invariants.broken(right(), [GOOD, BAD]) == []


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(what: str) -> None:
    change, words = BROKEN[what]
    found = invariants.broken(change(right()), [GOOD, BAD])
    assert any(words in problem for problem in found), found


def test_what_may_be_is_not_broken() -> None:
    counted = with_job(right(), "1", atm="2")
    assert invariants.broken(counted, [GOOD, BAD], counted=["1"]) == []
    deaf = structs.replace(right(), events=[], heard_all=False)
    assert invariants.broken(deaf, [GOOD, BAD]) == []
    retried = more_events(right(), event("1", "failed", error={"willRetry": True}))
    assert invariants.broken(retried, [GOOD, BAD]) == []


def test_a_lock_without_work_is_found() -> None:
    same = [(float(at), {"1": "token 25"}) for at in range(10)]
    assert invariants.locks_without_work(same, 5.0) == [
        "job 1 is locked for 9.0 s at token 25, and nobody works on it"
    ]
    moving = [(float(at), {"1": f"token {at // 4}"}) for at in range(10)]
    assert invariants.locks_without_work(moving, 5.0) == []


def test_growth_is_found() -> None:
    start = [Process(1, 50 << 20, 40), Process(2, 60 << 20, 10)]
    assert invariants.bounded(start, start) == []
    large = [Process(1, 500 << 20, 40), Process(2, 60 << 20, 100)]
    assert invariants.bounded(start, large) == [
        "the supervisor has 500 MB, 50 MB at the start",
        "a worker has 100 descriptors, 10 at the start",
    ]
    assert invariants.bounded(start, [*start, Process(3, 1, 1)]) == ["3 processes, 2 at the start"]


def test_a_busy_wait_is_found() -> None:
    before, after = Process(1, 0, 0, 1.0), Process(1, 0, 0, 3.0)
    assert invariants.calm(before, after, 20.0) == []
    assert invariants.calm(before, after, 4.0) == [
        "the supervisor used 50% of a core while it could do nothing"
    ]


def test_a_loud_log_is_found() -> None:
    line = 'time=2026-01-01T00:00:00.000Z level=warning logger=fastproc.bullmq.fetcher message="cannot take a job"'
    assert invariants.quiet_log([line] * 40, 10.0) == []
    assert "60 lines of log" in invariants.quiet_log([line] * 60, 10.0)[0]
    of_job = "time=2026-01-01T00:00:00.000Z level=warning logger=fastproc.supervisor.announcer message=failed jobId=4"
    assert invariants.quiet_log([of_job] * 60, 10.0) == []
    assert "200 lines of log about 1 jobs" in invariants.quiet_log([of_job] * 200, 10.0)[0]


def test_a_slow_recovery_is_found() -> None:
    assert invariants.recovered(3.0, 5.0) == []
    assert invariants.recovered(6.0, 5.0) == ["it took 6.0 s to go on, 5 s are allowed"]
    assert invariants.recovered(None, 5.0) == ["nothing was completed after the fault was lifted"]
