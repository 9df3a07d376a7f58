"""The pool's alarm: it rings at the earliest moment that was asked for, once, and with one timer."""

from __future__ import annotations

import asyncio
import time

from fastproc.supervisor.workers.alarm import Alarm


class Bell:
    """Counts, and wakes who waits for it."""

    def __init__(self) -> None:
        self.rung = 0
        self.heard = asyncio.Event()

    def ring(self) -> None:
        self.rung += 1
        self.heard.set()


async def test_it_rings_at_the_earliest_moment_and_then_for_the_next_that_is_asked_for() -> None:
    bell = Bell()
    alarm, now = Alarm(bell.ring), time.monotonic()
    alarm.ask(now + 3600)
    alarm.ask(now + 0.01)
    alarm.ask(None)
    alarm.ask(now + 1800)
    await asyncio.wait_for(bell.heard.wait(), 10)
    assert time.monotonic() - now >= 0.005
    bell.heard.clear()
    # What was asked for before is forgotten: who was rung has looked.
    alarm.ask(now)
    await asyncio.wait_for(bell.heard.wait(), 10)
    assert bell.rung == 2


async def test_a_later_moment_makes_no_timer() -> None:
    alarm, now = Alarm(lambda: None), time.monotonic()
    alarm.ask(now + 3600)
    timer = alarm._timer
    alarm.ask(now + 3601)
    assert alarm._timer is timer
    alarm.cancel()
    alarm.cancel()


async def test_what_was_cancelled_does_not_ring() -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)
    alarm.ask(time.monotonic())
    alarm.cancel()
    await asyncio.sleep(0.02)
    assert bell.rung == 0
