"""All neighbours of a service together: whether a job may be taken, and who must be probed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from fastproc.supervisor.neighbours import Neighbour


class Neighbours:
    """What the intake asks."""

    def __init__(self, neighbours: Sequence[Neighbour]) -> None:
        self._all = tuple(neighbours)

    def admit(self, in_hand: int) -> bool:
        """Whether a job may be taken, with so many in hand."""
        return all(each.admits(in_hand) for each in self._all)

    async def changed(self) -> None:
        """Wait until one of them may have changed."""
        await first_of(*(each.changed() for each in self._all))

    async def watch(self) -> None:
        """Probe those that are away, without end."""
        await asyncio.gather(*(each.watch() for each in self._all))


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of these to end, and cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
