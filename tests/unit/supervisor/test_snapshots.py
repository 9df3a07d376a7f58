"""Snapshots: ticks that add up, wall times, percentiles, and a board that refuses harms nobody."""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.snapshot import LATELY_S, Snapshot
from fastproc.supervisor import tally
from fastproc.supervisor.showing import Showing
from fastproc.supervisor.snapshots import Gatherer, wall_ms_of
from fastproc.supervisor.tally import Tally


def test_the_newest_jobs_have_percentiles() -> None:
    counted = Tally()
    assert counted.percentiles() == (None, None)
    counted.seconds.extend(range(1, 101))
    assert counted.percentiles() == (51, 96)
    counted.seconds.extend([5.0] * tally.NEWEST)
    assert counted.percentiles() == (5.0, 5.0)


def test_only_the_last_minute_of_the_limiter_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, now = Tally(), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    counted.held_back(2.0)
    now[0] += 50
    counted.held_back(3.0)
    assert counted.held_s() == 5.0
    now[0] += 11
    assert counted.held_s() == 3.0
    counted.held_back(500.0)
    assert counted.held_s() == 60.0


def gatherer(counted: Tally, pool: Any) -> Gatherer:
    parts = SimpleNamespace(service=SimpleNamespace(tally=counted), pool=pool)
    return Gatherer(("a", 1), 1, "0", cast(Any, parts))


def test_ticks_add_up_whenever_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, pool, now = Tally(), SimpleNamespace(deaths=0), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time_ns", lambda: int(now[0] * 1e9))
    gathered = gatherer(counted, pool)
    counted.completed, counted.failed, pool.deaths = 3, 1, 2
    now[0] += 4.9
    gathered._tick()
    assert list(gathered._ticks) == []
    now[0] += 0.2
    gathered._tick()
    counted.completed += 4
    now[0] += 12
    gathered._tick()
    found = [(tick.completed, tick.failed, tick.deaths) for tick in gathered._ticks]
    assert found == [(3, 1, 2), (4, 0, 0), (0, 0, 0)]
    starts = [tick.at_ms for tick in gathered._ticks]
    assert [round((b - a) / 1000) for a, b in pairwise(starts)] == [5, 5]


def test_what_failed_is_known_by_code_for_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, now = Tally(), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    gathered = gatherer(counted, SimpleNamespace(deaths=0))
    counted.codes.update({"FILE_CORRUPTED": 70})
    now[0] += 5
    gathered._tick()
    counted.codes.update({"FILE_CORRUPTED": 1, "POISON_PHOTO": 2})
    now[0] += 5
    gathered._tick()
    assert gathered._lately() == {"FILE_CORRUPTED": 71, "POISON_PHOTO": 2}
    now[0] += LATELY_S - 5
    gathered._tick()
    assert gathered._lately() == {"FILE_CORRUPTED": 1, "POISON_PHOTO": 2}
    now[0] += 5
    gathered._tick()
    assert gathered._lately() == {}


def test_a_moment_becomes_a_wall_time() -> None:
    assert abs(wall_ms_of(time.monotonic() - 10) - (time.time() - 10) * 1000) < 1000
    assert wall_ms_of(None) == 0


class Board:
    """A board that answers what it is told."""

    def __init__(self, *answers: Exception | float) -> None:
        self.answers, self.shown = list(answers), 0

    async def show(self, snapshot: Snapshot) -> float:
        self.shown += 1
        answer = self.answers.pop(0) if self.answers else 0.001
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def leave(self) -> None:
        raise QueueUnavailable("gone")


SNAPSHOT = Snapshot(host="a", pid=1, version="0", at_ms=0, started_at_ms=0, state="serving")


async def test_what_the_board_refuses_is_one_warning_and_an_outage_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = Board(QueueRefused("NOPERM"), QueueUnavailable("away"), QueueRefused("NOPERM"), 0.25)
    showing = Showing(board, lambda: SNAPSHOT)
    for _ in range(4):
        await showing.show()
    assert showing.latency_s == 0.25
    await showing.leave()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "NOPERM" in caplog.text


class Silent(Board):
    """A board that does not answer any more."""

    async def leave(self) -> None:
        await asyncio.Event().wait()


async def test_the_end_does_not_wait_for_a_board_that_is_away() -> None:
    showing = Showing(Silent(QueueUnavailable("away")), lambda: SNAPSHOT)
    await showing.show()
    await asyncio.wait_for(showing.leave(), 0.1)
    showing = Showing(Silent(), lambda: SNAPSHOT)
    await showing.show()
    await asyncio.wait_for(showing.leave(), 10)


async def test_a_snapshot_that_cannot_be_gathered_is_said_and_no_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Snapshot:
        raise RuntimeError("a defect")

    showing = Showing(Board(), broken)
    await showing.show()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_what_an_order_has_changed_is_shown_at_once() -> None:
    board = Board()
    showing = Showing(board, lambda: SNAPSHOT)
    running = asyncio.create_task(showing.run())
    await asyncio.sleep(0.01)
    assert board.shown == 1
    showing.soon()
    await asyncio.sleep(0.01)
    assert board.shown == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
