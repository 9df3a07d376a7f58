"""The one line: what is worst comes first, in words and with a remedy that a person can act on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fastproc.core.errors import BY_CODE
from fastproc.core.failures import Failure
from fastproc.core.scene import Scene, with_backlog
from fastproc.core.snapshot import TICK_S, LimiterNow, NeighbourNow, QueueNow, Snapshot, Tick, WorkerNow
from fastproc.core.spans import moment, span
from fastproc.core.verdict import NEIGHBOURS, verdict, verdicts
from fastproc.core.view import activity

#: 2026-11-27 02:30:00 UTC, and 02:14.
NOW_MS = 1_795_746_600_000
THEN_MS = NOW_MS - 16 * 60_000

IDLE, BUSY = WorkerNow(slot=0, state="idle"), WorkerNow(slot=1, state="busy", photo="p", task_s=0.3)
SERVICE = Snapshot(
    host="a",
    pid=1,
    version="0.1.0",
    at_ms=NOW_MS,
    started_at_ms=NOW_MS - 3_600_000,
    state="serving",
    workers=(IDLE, replace(IDLE, slot=1)),
    concurrency=2,
    neighbours=(NeighbourNow(name="redis"), NeighbourNow(name="storage"), NeighbourNow(name="webhook")),
)
QUEUE = QueueNow(name="photos", counts={"waiting": 0, "failed": 3})
WAITS = replace(QUEUE, counts={"waiting": 12, "prioritized": 2, "delayed": 5})


def ticks(**each: int) -> tuple[Tick, ...]:
    """Two minutes, each tick with so many."""
    return tuple(Tick(at_ms=NOW_MS - int(TICK_S * 1000) * n, **each) for n in range(24, 0, -1))


def service(**fields: Any) -> Snapshot:
    return replace(SERVICE, **fields)


def away(name: str, since_ms: int = THEN_MS) -> tuple[NeighbourNow, ...]:
    return (NeighbourNow(name=name, away="no answer in 2 s", away_since_ms=since_ms),)


FAILURE = Failure(
    code="FILE_CORRUPTED",
    attempts=9,
    jobs=9,
    first_at_ms=THEN_MS,
    last_at_ms=NOW_MS - 1000,
    photo="IMG_1",
    job="7",
    reason="cut short",
)

CASES: list[tuple[list[Snapshot], QueueNow | None, list[Failure], str, str, str]] = [
    ([SERVICE], QUEUE, [], "good", "idle: nothing waits, 2 workers ready", ""),
    (
        [service(workers=(IDLE, replace(IDLE, slot=1, state="starting")))],
        QUEUE,
        [],
        "good",
        "idle: nothing waits, 1 worker ready",
        "",
    ),
    (
        [service(workers=(BUSY, BUSY), ticks=ticks(completed=5))],
        replace(WAITS, oldest_s=3.0),
        [],
        "good",
        "2 workers busy, 14 waiting, oldest 3 s",
        "",
    ),
    (
        [service(workers=(BUSY, BUSY))],
        replace(WAITS, oldest_s=65.0, backlog_s=9.0),
        [],
        "good",
        "2 workers busy, 14 waiting, oldest 65 s, clears in 9 s",
        "",
    ),
    ([service(workers=(BUSY, IDLE))], QUEUE, [], "good", "1 worker busy, 0 waiting", ""),
    ([service(workers=(BUSY, IDLE))], None, [], "good", "1 of 2 workers busy; the queue is not known", ""),
    ([service(state="starting", workers=())], QUEUE, [], "good", "starting", ""),
    ([], QUEUE, [], "bad", "no service is running", "fastproc run"),
    ([], WAITS, [], "bad", "no service is running, 14 jobs wait", "its log"),
    (
        [service(workers=(BUSY, BUSY), ticks=ticks(completed=5))],
        replace(WAITS, growth_per_s=3.25),
        [],
        "warn",
        "what waits grows by 3.2 jobs a second: 14 wait, 1.0 a second are done",
        "fastproc set concurrency",
    ),
    (
        [service(workers=(BUSY, IDLE), limiter=LimiterNow(max=10, duration_ms=1000, held_s=40.0))],
        replace(WAITS, growth_per_s=3.25),
        [],
        "warn",
        "the rate limit is what holds back (10 jobs a second), 14 jobs wait",
        "fastproc set rate",
    ),
    (
        [SERVICE],
        replace(WAITS, paused=True),
        [],
        "warn",
        "the queue is paused, 14 jobs wait",
        "fastproc resume",
    ),
    (
        [SERVICE],
        replace(WAITS, held="the queue's rate limit is used up"),
        [],
        "warn",
        "the queue's rate limit is used up",
        "rateLimit",
    ),
    (
        [SERVICE, service(host="b", state="paused")],
        QUEUE,
        [],
        "warn",
        "the host is paused: b",
        "fastproc resume --host b",
    ),
    (
        [service(neighbours=away("storage"))],
        WAITS,
        [],
        "bad",
        "S3 is away since 02:14 UTC, intake paused: no answer in 2 s",
        "MINIO_ENDPOINT",
    ),
    (
        [SERVICE, service(host="b", neighbours=away("database"))],
        WAITS,
        [],
        "bad",
        "the database is away since 02:14 UTC on b, intake paused: no answer in 2 s",
        "DATABASE_URL",
    ),
    (
        [service(neighbours=away("redis"))],
        None,
        [],
        "bad",
        "Redis is away since 02:14 UTC, no job is taken: no answer in 2 s",
        "REDIS_HOST",
    ),
    (
        [service(neighbours=away("kernel"))],
        QUEUE,
        [],
        "bad",
        "the kernel refuses what jobs need since 02:14 UTC, intake paused: no answer in 2 s",
        "ulimit",
    ),
    (
        [service(neighbours=away("webhook"))],
        QUEUE,
        [],
        "warn",
        "a receiver of webhooks is away since 02:14 UTC, events wait: no answer in 2 s",
        "fastproc webhooks",
    ),
    (
        [
            service(
                ticks=ticks(deaths=1),
                workers=(replace(IDLE, deaths=4, last_death="SIGSEGV", last_death_at_ms=NOW_MS), IDLE),
            )
        ],
        QUEUE,
        [],
        "bad",
        "workers died 24 times in 5 min, the last: SIGSEGV",
        "fastproc errors",
    ),
    (
        [service(workers=(replace(BUSY, task_s=61.0), replace(BUSY, task_s=95.0)))],
        WAITS,
        [],
        "bad",
        "all 2 workers have been busy with the same photos for 61 s and more",
        "JOB_TIMEOUT_S",
    ),
    (
        [service(version="0.2.0", host="b"), SERVICE],
        QUEUE,
        [],
        "warn",
        "services of different versions: 0.1.0 on a, 0.2.0 on b",
        "roll-out",
    ),
    (
        [
            service(ticks=ticks(completed=1, failed=1), codes={"FILE_CORRUPTED": 9, "IMAGE_TOO_SMALL": 8}),
            service(host="b", codes={"FILE_CORRUPTED": 2, "POISON_PHOTO": 5}),
        ],
        QUEUE,
        # In the last days others have failed more often.
        [replace(FAILURE, code="IMAGE_TOO_SMALL", jobs=7000), FAILURE],
        "bad",
        "24 of 48 jobs failed in 5 min, most with FILE_CORRUPTED, the last photo IMG_1",
        "INTEGRITY",
    ),
    (
        [service(ticks=ticks(failed=1))],
        QUEUE,
        [FAILURE],
        "bad",
        "24 of 24 jobs failed in 5 min",
        "fastproc errors",
    ),
    (
        [service(ticks=ticks(failed=1), codes={"INVALID_JOB": 24})],
        QUEUE,
        [replace(FAILURE, code="INVALID_JOB", photo="")],
        "bad",
        "24 of 24 jobs failed in 5 min, most with INVALID_JOB, the last job 7",
        "producer",
    ),
    (
        [service(health="stale")],
        WAITS,
        [],
        "bad",
        "jobs wait and none ends, without a reason that is known",
        "log",
    ),
    (
        [service(health="stuck", problems=("job 7 does not end: storing",))],
        WAITS,
        [],
        "bad",
        "the service on a is stuck: job 7 does not end: storing",
        "restart",
    ),
    (
        [service(problems=("workers: no worker process is running",))],
        WAITS,
        [],
        "bad",
        "workers: no worker process is running (on a)",
        "operations.md",
    ),
    ([service(state="stopping", in_hand=3)], QUEUE, [], "warn", "stopping: 3 jobs in hand", "signal"),
    ([service(state="stopping", in_hand=1)], QUEUE, [], "warn", "stopping: 1 job in hand", "signal"),
]


@pytest.mark.parametrize(
    ("services", "queue", "failures", "level", "text", "remedy"), CASES, ids=range(len(CASES))
)
def test_the_line_names_what_is_worst(
    services: list[Snapshot],
    queue: QueueNow | None,
    failures: list[Failure],
    level: str,
    text: str,
    remedy: str,
) -> None:
    found = verdict(services, queue, failures)
    assert (found.level, found.text) == (level, text)
    assert remedy in found.remedy
    assert bool(found.remedy) == (found.level != "good")


def test_worse_comes_first_and_what_goes_on_comes_last() -> None:
    services = [service(neighbours=away("webhook"), ticks=ticks(deaths=1)), service(host="b", state="paused")]
    found = verdicts(services, replace(WAITS, paused=True), [])
    assert [line.level for line in found] == ["bad", "warn", "warn", "warn", "good"]
    assert found[0].text.startswith("workers died")
    assert found[-1].text.startswith("0 workers busy, 14 waiting")


@pytest.mark.parametrize("seconds", [-3600, -20, 20, 3600])
def test_what_happened_lately_is_by_the_clock_of_the_host(seconds: int) -> None:
    """Ten minutes of ticks, of a host whose clock is ahead or behind: the last minute is a minute."""
    shift = seconds * 1000
    done = tuple(Tick(at_ms=NOW_MS + shift - 5000 * n, completed=10, deaths=1) for n in range(120, 0, -1))
    one = service(at_ms=NOW_MS + shift, started_at_ms=NOW_MS + shift - 3_600_000, ticks=done)
    here = Scene([one], WAITS, [], NOW_MS)
    assert here.pace == pytest.approx(2.0, rel=0.1)
    assert here.lately("deaths", 300.0) == 60
    assert with_backlog(replace(WAITS, oldest_s=30.0), [one], NOW_MS).backlog_s == pytest.approx(7.0)
    found = activity([one], NOW_MS)
    assert len(found) >= 118
    assert {each[1] for each in found} == {10}


@pytest.mark.parametrize("quiet", [ticks(), ticks(completed=9)], ids=range(2))
def test_what_was_long_ago_or_seldom_is_no_news(quiet: tuple[Tick, ...]) -> None:
    old = Tick(at_ms=NOW_MS - 400_000, completed=0, failed=50, deaths=9)
    one = Tick(at_ms=NOW_MS - 4_000, completed=0, failed=1, deaths=1)
    assert verdict([service(ticks=(old, *quiet, one))], QUEUE, [FAILURE]).level == "good"


def test_decoders_with_holes_are_named_after_what_goes_on() -> None:
    found = verdicts([service(holes=("libheif 1.17.0 has CVE-1", "other"))], QUEUE, [])
    assert [line.level for line in found] == ["good", "warn"]
    assert found[1].text == "decoders: libheif 1.17.0 has CVE-1 (and 1 more)"
    assert "newer release" in found[1].remedy


def test_a_queue_that_nobody_may_take_from_clears_in_no_time_that_is_known() -> None:
    busy = [service(workers=(BUSY, BUSY), pace=5.0)]
    assert seconds(WAITS, *busy) == pytest.approx(14 / 5)
    for held in (replace(WAITS, paused=True), replace(WAITS, held="the queue's rate limit is used up")):
        # What was known before the pause is not said any more.
        assert seconds(replace(held, backlog_s=3.0), *busy) is None
    assert seconds(replace(QUEUE, paused=True), *busy) == 0.0


def test_every_code_of_a_failure_has_its_remedy() -> None:
    for code in BY_CODE:
        found = verdict(
            [service(ticks=ticks(failed=1), codes={code: 1})], QUEUE, [replace(FAILURE, code=code)]
        )
        assert code in found.text
        assert found.remedy


def test_every_neighbour_of_a_snapshot_has_words() -> None:
    assert set(NEIGHBOURS) == {"redis", "storage", "uploads", "database", "kernel", "webhook"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0 s"), (0.44, "0.4 s"), (9, "9 s"), (9.96, "10 s"), (119, "119 s"), (150, "2 min"), (7300, "2 h 2 min"),
        (7200, "2 h"), (3 * 86_400, "3 days"),
    ],
)  # fmt: skip
def test_a_duration_is_short(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_moment_names_its_zone() -> None:
    assert moment(THEN_MS) == "02:14 UTC"


def seconds(queue: QueueNow, *services: Snapshot) -> float | None:
    return with_backlog(queue, services, NOW_MS).backlog_s


def test_the_backlog_is_that_of_all_services_together_where_they_know_it() -> None:
    known = service(pace=0.5), service(pace=0.2)
    assert seconds(WAITS, *known) == pytest.approx(20.0)
    assert seconds(WAITS, *known, service(pace=0.0)) == pytest.approx(20.0)
    assert (
        seconds(WAITS, *known, service())
        is seconds(WAITS, service())
        is seconds(WAITS, service(pace=0.0))
        is seconds(WAITS)
        is None
    )
    slow = LimiterNow(max=30, duration_ms=60_000)
    limited = [replace(each, limiter=slow) for each in known]
    assert seconds(WAITS, *limited) == pytest.approx(20.0)
    assert seconds(WAITS, limited[0]) == pytest.approx(28.0)
    slower = replace(limited[0], limiter=LimiterNow(max=12, duration_ms=60_000))
    assert seconds(WAITS, slower) == pytest.approx(WAITS.waiting / 0.2)
    assert seconds(WAITS, slower, known[1]) == pytest.approx(20.0)
    queue = with_backlog(WAITS, known, NOW_MS)
    assert verdict(known, queue, [], now_ms=NOW_MS).text.endswith("clears in 20 s")


def test_a_burst_clears_at_the_pace_of_the_time_in_which_it_waits() -> None:
    """A service looks at the queue every 10 s: until then it knows no pace, and its idle minute says nothing of one."""
    begun = service(ticks=(*ticks()[:-1], Tick(at_ms=NOW_MS - 5000, completed=35)))
    assert seconds(replace(WAITS, oldest_s=4.0), begun) is None
    assert seconds(replace(WAITS, oldest_s=6.0), begun) == pytest.approx(14 / 7)
    # Jobs that were added long ago, and wait again, make the minute no longer.
    assert seconds(replace(WAITS, oldest_s=9e4), service(ticks=ticks(failed=5))) == pytest.approx(14)


@pytest.mark.parametrize(
    ("fields", "is_said"),
    [
        ({"neighbours": away("storage")}, False),
        ({"neighbours": away("webhook")}, True),
        ({"state": "paused"}, False),
        ({"state": "stopping"}, False),
    ],
)
def test_nothing_clears_by_services_that_take_no_jobs(fields: dict[str, Any], is_said: bool) -> None:
    held = service(pace=1.0, **fields)
    queue = with_backlog(WAITS, [held], NOW_MS)
    assert ("clears in 14 s" in verdicts([held], queue, [], now_ms=NOW_MS)[-1].text) is is_said
    assert seconds(WAITS, held, service(pace=1.0)) == pytest.approx(7 if is_said else 14)
