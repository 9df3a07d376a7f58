"""How the parts of a service are started: a start that is given up leaves nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastproc import parts
from fastproc.config.settings import load


class NeverReady:
    """Workers that take for ever to get ready: no process, so that the moment of the cancellation is sure."""

    def __init__(self, *_: object, **__: object) -> None:
        self.ready = asyncio.Event()
        self.halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Stop nothing."""


async def test_a_start_that_is_given_up_while_workers_get_ready_leaves_no_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "Pool", NeverReady)

    async def start() -> Any:
        async with parts.started_pool(load({}, 1)):
            pytest.fail("it is never ready")

    starting = asyncio.create_task(start())
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 3  # This one, the start, and its look at what is ready.
    starting.cancel()
    await asyncio.wait((starting,))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
