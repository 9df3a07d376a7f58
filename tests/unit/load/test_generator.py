"""The load generator ends where it is told to, even when a library has lost the cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from fastproc.load.generator import Generator


class Deaf:
    """A queue whose `add_all` goes on when it is cancelled, as Python 3.11's `wait_for` makes redis-py do."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = asyncio.Event()

    @property
    def outcomes(self) -> Deaf:
        return self

    async def start(self) -> None:
        """Nothing to begin."""

    async def ended(self) -> set[str]:
        return set()

    async def add_all(self, jobs: Sequence[Any]) -> None:
        self.calls += 1
        self.begun.set()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return


async def test_a_cancellation_that_a_library_swallows_ends_the_run() -> None:
    queue = Deaf()
    generator = Generator(queue, ["k"], "p-", lambda _: None)  # type: ignore[arg-type]
    running = asyncio.create_task(generator.run([0.0] * 200, 0))
    await queue.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await running
    assert queue.calls == 1
