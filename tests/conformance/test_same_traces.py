"""The same jobs leave the same keys and events, whoever works them. Checklist no. 72."""

from __future__ import annotations

from tests.conformance.conftest import Both, Side


async def many_kinds(side: Side) -> None:
    """Fourteen jobs: every way in which a job of ours can end."""
    await side.add('ok:{"success":true,"photoId":"p1","width":1.5,"none":null}')
    await side.add("ok")
    await side.add('ok:"Straße 東京"', "other-name", jobId="own-id")
    await side.add("progress:10 | log:first | log:second | progress:100 | log:third | ok:1", keepLogs=2)
    await side.add("fail:STORAGE_UNAVAILABLE")
    await side.add("fail:STORAGE_UNAVAILABLE", attempts=3)
    await side.add("fail-then-ok:2 | ok:2", attempts=3)
    await side.add("fail-then-ok:1 | ok", attempts=2, backoff=300)
    await side.add("fail:DATABASE_UNAVAILABLE", attempts=2, backoff={"type": "exponential", "delay": 500})
    await side.add("fatal:FILE_CORRUPTED", attempts=5, stackTraceLimit=3)
    await side.add("ok:[]", removeOnComplete=True)
    await side.add("fatal:OBJECT_NOT_FOUND", removeOnFail=True)
    await side.add("ok", priority=7)
    # Counted from now, where backoffs count from a run: late enough to be the last on a busy machine, too.
    await side.add("ok", delay=2500)
    async with side.worker():
        await side.quiet()


async def test_fourteen_jobs_of_every_kind_leave_the_same_keys_and_events(both: Both) -> None:
    await both(many_kinds)


async def test_jobs_of_older_and_newer_producers_leave_the_same_keys_and_events(sides: Both) -> None:
    for major in (6, 4):
        await sides.produced_by(major)(many_kinds)
