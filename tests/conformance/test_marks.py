"""Our one call for the marks of many jobs leaves the keys and events of the official library's calls one by one."""

from __future__ import annotations

import pytest
from redis import Redis, ResponseError

from fastproc.bullmq.marks import MAX_MARKS, SCRIPT, Marks
from fastproc.bullmq.protocol import Keys
from tests.conformance import keyspace
from tests.conformance.conftest import Both, Side

#: Job, then a percentage or a row.
STEPS: list[tuple[str, int | str]] = [
    ("all", 10), ("few", 10), ("all", "first"), ("few", "one"), ("few", "two"), ("all", 25), ("few", "Straße 東京"),
    ("few", 25), ("all", "second"), ("none", 5), ("all", 100), ("few", "four"), ("none", "kept by nobody"), ("few", 0),
]  # fmt: skip


async def prepared(side: Side) -> None:
    await side.listen()
    for job_id, options in (("all", {}), ("few", {"keepLogs": 2}), ("none", {"keepLogs": 0}), ("gone", {})):
        await side.add("ok", jobId=job_id, **options)
    await side.job("gone", "remove")


async def one_by_one(side: Side) -> None:
    for job_id, said in STEPS:
        await side.job(job_id, "updateProgress" if isinstance(said, int) else "log", said)


def in_one_call(side: Side) -> None:
    keep = {"few": 2, "none": 0}
    marks = Marks(Keys("bull", side.queue))
    for job_id, said in STEPS:
        # A job that was removed gets nothing.
        marks.progress("gone", "99")
        marks.add_log("gone", "a row", 1)
        if isinstance(said, int):
            marks.progress(job_id, str(said))
        else:
            marks.add_log(job_id, said, keep.get(job_id))
    side.redis.script_load(SCRIPT)
    assert side.redis.execute_command(*marks.command()) == 0


#: Where a queue names no cap of its events, BullMQ writes its default into `meta` since major 5.
@pytest.mark.parametrize(
    ("major", "has_cap"), [(4, True), (5, True), (6, True), (5, False), (6, False)], ids=str
)
async def test_marks_in_one_call_leave_what_the_official_library_leaves(
    sides: Both, major: int, has_cap: bool
) -> None:
    both = sides.produced_by(major)
    for side in (both.official, both.ours):
        await prepared(side)
        if has_cap:
            side.redis.hset(side.key("meta"), "opts.maxLenEvents", 500)
        else:
            side.redis.hdel(side.key("meta"), "opts.maxLenEvents")
    await one_by_one(both.official)
    in_one_call(both.ours)
    heard, left = [], []
    for side in (both.official, both.ours):
        await side.until_heard("progress", sum(isinstance(said, int) for _, said in STEPS))
        heard.append([(said["jobId"], said["data"]) for said in await side.heard("progress")])
        left.append(side.snapshot())
    assert heard[0] == heard[1]
    assert keyspace.difference(*left) == ""


def test_a_mark_that_cannot_be_written_fails_alone_and_is_told(redis: Redis, unique: str) -> None:
    keys = Keys("bull", unique)
    redis.script_load(SCRIPT)
    for job_id in ("a", "b"):
        redis.hset(keys(job_id), "name", "photo")
    redis.set(keys("a:logs"), "no list")
    marks = Marks(keys)
    marks.add_log("a", "lost", 3)
    marks.progress("a", "10")
    marks.add_log("b", "kept", None)
    with pytest.raises(ResponseError, match="wrong kind of value"):
        redis.execute_command(*marks.command())
    assert redis.hget(keys("a"), "progress") == "10"
    assert redis.lrange(keys("b:logs"), 0, -1) == ["kept"]


def test_a_full_call_takes_no_more_and_neither_does_one_that_was_sent() -> None:
    full, sent = Marks(Keys("bull", "q")), Marks(Keys("bull", "q"))
    for _ in range(MAX_MARKS):
        assert full.is_open
        full.progress("7", "1")
    sent.progress("7", "1")
    sent.command()
    assert (full.is_open, sent.is_open) == (False, False)
