"""The clock of the server: a moment of ours in the server's time, of each connection apart, and never too late."""

from __future__ import annotations

import time
from typing import Any

from fastproc.backends.postgresql_clock import ServerClock


class Connection:
    """A connection whose server's clock says what it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.asked = 0

    async def execute(self, query: bytes) -> Answer:
        assert b"clock_timestamp" in query
        self.asked += 1
        return Answer(self.now)


class Answer:
    def __init__(self, now: float) -> None:
        self._now = now

    async def fetchone(self) -> tuple[float]:
        return (self._now,)


async def test_a_moment_of_ours_is_told_in_the_time_of_its_own_server() -> None:
    clock, one, other = ServerClock(), Connection(1000.0), Connection(5000.0)
    connections: list[Any] = [one, other]
    before = time.monotonic()
    for connection in connections:
        await clock.know(connection)
        await clock.know(connection)
    took = time.monotonic() - before
    assert (one.asked, other.asked) == (1, 1)
    assert 1005.0 - took <= clock.at(connections[0], before + 5.0) <= 1005.0
    assert 5005.0 - took <= clock.at(connections[1], before + 5.0) <= 5005.0


async def test_each_answer_corrects_what_was_known() -> None:
    clock, server = ServerClock(), Connection(1000.0)
    connection: Any = server
    await clock.know(connection)
    answer: Any = Answer(990.0)
    before = time.monotonic()
    assert await clock.read(connection, answer) == 990.0
    assert clock.at(connection, before) <= 990.0
