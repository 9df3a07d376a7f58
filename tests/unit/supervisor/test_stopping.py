"""The end of the service: two requests, and closes that share a deadline."""

from __future__ import annotations

import asyncio
import time

import pytest

from fastproc.supervisor import stopping
from fastproc.supervisor.stopping import Closing, StopRequest


def test_the_second_request_is_the_hurried_one() -> None:
    stop = StopRequest()
    stop.ask()
    assert (stop.asked.is_set(), stop.hurried.is_set()) == (True, False)
    stop.ask()
    assert stop.hurried.is_set()


async def test_closes_that_hang_share_one_deadline_are_named_and_cost_the_next_ones_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stopping, "CLOSE_S", 0.3)
    closing, closed = Closing(), []

    async def hang() -> None:
        await asyncio.Event().wait()

    async def close() -> None:
        await asyncio.sleep(0.01)
        closed.append("Redis")

    began = time.monotonic()
    for name in ("the workers", "the events", "the database"):
        await closing.close(name, hang)
    await closing.close("Redis", close)
    assert 0.3 + 2 * stopping.LEAST_CLOSE_S <= time.monotonic() - began < 2.0
    assert closed == ["Redis"]
    assert closing.gave_up
    assert [record.args for record in caplog.records] == [
        ("the workers",), ("the events",), ("the database",),
    ]  # fmt: skip


async def test_parts_that_close_leave_nothing_behind() -> None:
    closing = Closing()

    async def close() -> None:
        await asyncio.sleep(0)

    await closing.close("Redis", close)
    assert not closing.gave_up
