"""Calls a function in a thread for the loop, at half of what `run_in_executor` costs the loop's own thread.

That one makes two futures, chains them with four callbacks, and so takes three turns of the loop; this makes one and
takes one turn.

Rule 1: what the function raises is raised to who waits; a caller that has gone stops nothing that has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor


def call(executor: Executor, work: Callable[..., None], *args: object) -> asyncio.Future[None]:
    """Call it soon; the future of the running loop is done when it has ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def called() -> None:
        failed: Exception | None = None
        try:
            work(*args)
        except Exception as error:
            failed = error
        loop.call_soon_threadsafe(_end, ended, failed)

    # Its own future is not kept: it would hold the error of a loop that was closed meanwhile, where nobody waits.
    executor.submit(called)
    return ended


def _end(ended: asyncio.Future[None], failed: Exception | None) -> None:
    if ended.done():
        return  # Its caller was cancelled.
    if failed is None:
        ended.set_result(None)
    else:
        ended.set_exception(failed)
