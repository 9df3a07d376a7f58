"""All neighbours of a service together: whether a job may be taken, and who must be probed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

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
        waits = [asyncio.ensure_future(each.changed()) for each in self._all]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def watch(self) -> None:
        """Probe those that are away, without end."""
        await asyncio.gather(*(each.watch() for each in self._all))
