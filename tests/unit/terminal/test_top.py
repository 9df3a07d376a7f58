"""The frame of `top`: it fits any width, hosts are one each, strangers' texts cannot control the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fastproc.core.failures import Failure
from fastproc.core.scene import Scene, Verdict
from fastproc.core.snapshot import LimiterNow, NeighbourNow, QueueNow, Snapshot, Tick, WorkerNow
from fastproc.terminal.top import Frame, lines
from tests.unit.terminal.consoles import EVIL

NOW_MS = 1_795_746_600_000
WORKERS = (
    WorkerNow(
        slot=0, state="busy", pid=7, photo="IMG_1.jpg", stage="thumbnails", task_s=1.25, rss_bytes=64 << 20
    ),
    WorkerNow(
        slot=1, state="idle", rss_bytes=60 << 20, deaths=2, last_death="SIGSEGV", last_death_at_ms=NOW_MS
    ),
)
NEIGHBOURS = (
    NeighbourNow(name="redis", where="redis:6379", latency_s=0.0004),
    NeighbourNow(name="storage", where="minio:9000", away="no answer", away_since_ms=NOW_MS - 960_000),
    NeighbourNow(name="database", where="p.db", last_error="locked", last_error_at_ms=NOW_MS),
)
SERVICE = Snapshot(
    host="host-a",
    pid=1,
    version="0.1.0",
    at_ms=NOW_MS,
    started_at_ms=NOW_MS - 7_200_000,
    state="serving",
    in_hand=3,
    max_in_hand=4,
    workers=WORKERS,
    neighbours=NEIGHBOURS,
    limiter=LimiterNow(max=10, duration_ms=1000, held_s=12.0),
    p50_s=0.21,
    p95_s=0.8,
    ticks=(Tick(at_ms=NOW_MS - 20_000, completed=4), Tick(at_ms=NOW_MS - 10_000, completed=2)),
    changed={"concurrency": "2 (was 4)"},
)
FAILURE = Failure(
    code="FILE_CORRUPTED",
    attempts=9,
    jobs=7,
    first_at_ms=0,
    last_at_ms=NOW_MS,
    photo="IMG_2",
    job="8",
    reason="short",
)
QUEUE = QueueNow(
    name="photos", counts={"wait": 14, "active": 2, "delayed": 0, "completed": 12345}, growth_per_s=-0.5
)
SCENE = Scene([SERVICE], QUEUE, [FAILURE], NOW_MS)
VERDICTS = [Verdict("bad", "S3 is away since 02:14 UTC", "look at it"), Verdict("good", "2 workers busy")]


def shown(scene: Scene | None = SCENE, width: int = 120, **more: Any) -> list[str]:
    return [line.plain.rstrip() for line in lines(Frame("bull:photos", VERDICTS, scene, **more), width)]


def test_the_frame_says_what_is_wrong_what_to_do_and_how_everything_stands() -> None:
    assert shown() == [
        "fastproc top bull:photos  02:30:00 UTC",
        "S3 is away since 02:14 UTC",
        "   do: look at it",
        "now: 2 workers busy",
        "queue    wait 14  active 2  completed 12,345",
        "pace     0.1 jobs/s  p50 210 ms, p95 800 ms  waiting -0.5/s  limit 10/s (held jobs back 12 s of the last minute)",  # noqa: E501
        "10 min   █▅",
        "",
        "host-a  serving, 3 of 4 jobs in hand, up 2 h, 0.1.0",
        "  changed: concurrency 2 (was 4), until the service ends",
        "  slot   state           s  stage        photo                                          memory died",
        "  0      busy          1.2  thumbnails   IMG_1.jpg                                    64.0 MiB",
        "  1      idle                                                                         60.0 MiB 2, 02:30:00 UTC SIGSEGV",  # noqa: E501
        "  redis        0.4 ms  redis:6379",
        "  storage              minio:9000  away since 02:14:00 UTC: no answer",
        "  database             p.db  last error 02:30:00 UTC: locked",
        "",
        "failures of the last days  fastproc errors shows more",
        "  FILE_CORRUPTED  7 jobs, 9 attempts, the newest 02:30:00 UTC, photo IMG_2",
        "    do: nothing; `INTEGRITY` forgives more",
    ]


def test_the_curve_goes_by_this_clock_whatever_that_of_a_host_says() -> None:
    ahead_ms = 3_600_000
    ticks = tuple(replace(tick, at_ms=tick.at_ms + ahead_ms) for tick in SERVICE.ticks)
    other = replace(SERVICE, host="host-b", at_ms=SERVICE.at_ms + ahead_ms, ticks=ticks)
    assert "10 min   █▅" in shown(replace(SCENE, services=[SERVICE, other]))


@pytest.mark.parametrize("width", [60, 79, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = replace(WORKERS[0], photo="x" * 128, stage="y" * 40)
    scene = replace(SCENE, services=[replace(SERVICE, workers=(long, *WORKERS), host="h" * 80)])
    found = shown(scene, width)
    assert max(len(line) for line in found) <= width
    assert any("x" * 10 in line for line in found)
    assert any("64.0 MiB" in line for line in found)


def test_a_host_with_several_supervisors_is_one() -> None:
    first, second = (replace(SERVICE, number=number, of=2) for number in (1, 2))
    away = replace(second, neighbours=(replace(NEIGHBOURS[0], away="refused", away_since_ms=NOW_MS),))
    found = shown(replace(SCENE, services=[first, away]))
    assert "host-a (2 of 2 supervisors)  serving, 6 of 8 jobs in hand, up 2 h, 0.1.0" in found
    assert [line.split()[0] for line in found if "busy " in line and line.startswith("  ")] == ["1.0", "2.0"]
    assert [line for line in found if line.startswith("  redis")] == [
        "  redis        0.4 ms  redis:6379  away since 02:30:00 UTC: refused"
    ]


def test_what_is_old_says_so_and_without_anything_the_verdict_is_all() -> None:
    assert "what follows is 12 s old" in shown(old_s=12.0)
    assert shown(None) == ["fastproc top bull:photos", *shown()[1:4]]


def test_a_stranger_controls_nothing() -> None:
    worker = WorkerNow(slot=0, state=EVIL, photo=EVIL, stage=EVIL, deaths=1, last_death=EVIL)
    neighbour = NeighbourNow(name=EVIL, where=EVIL, away=EVIL)
    service = replace(SERVICE, host=EVIL, version=EVIL, workers=(worker,), neighbours=(neighbour,))
    service = replace(service, changed={EVIL: EVIL})
    failure = replace(FAILURE, code=EVIL, photo=EVIL)
    scene = Scene([service], replace(QUEUE, counts={EVIL: 1}), [failure], NOW_MS)
    frame = Frame(EVIL, [Verdict("bad", EVIL, EVIL)], scene)
    for line in lines(frame, 200):
        assert line.plain.isprintable() or not line.plain


def test_a_long_verdict_wraps_into_three_lines() -> None:
    frame = Frame("q", [Verdict("bad", "word " * 60)])
    found = [line.plain for line in lines(frame, 60)]
    assert len(found) == 4
    assert found[-1].endswith("…")
