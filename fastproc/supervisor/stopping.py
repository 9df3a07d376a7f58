"""The request to stop, in two steps: finish the jobs in hand and take no more; asked again, end without them."""

from __future__ import annotations

import asyncio


class StopRequest:
    """Set by signals, awaited by the service."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def ask(self) -> None:
        """Ask for the stop; a second call says not to wait for the jobs in hand."""
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()
