"""The page's live feed, as server-sent events: the whole state first, then the sections that have changed.

Rule 1: nothing is looked at while nobody listens; however many listen, the service is looked at once a second at most.
Rule 2: nothing waits for a slow reader: one that has missed something gets the newest state, not every one between.
Rule 3: something is sent at each look (`beat` where nothing has changed): a page knows when the service is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Final

log = logging.getLogger(__name__)

#: Between two looks.
EVERY_S: Final = 1.0
#: How soon a browser comes back by itself; the page has a patience of its own.
RETRY_MS: Final = 2000

#: Returns the sections of the state by name, as JSON.
Look = Callable[[], Awaitable[Mapping[str, bytes]]]


class Live:
    """The feed of what `look` returns."""

    def __init__(self, look: Look, every_s: float = EVERY_S) -> None:
        self._look, self._every_s = look, every_s
        #: Each section, and the number of the look that has changed it.
        self._sections: dict[str, tuple[int, bytes]] = {}
        self._number = 0
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.listeners = 0

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Yield events without end."""
        self._come()
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            seen = 0
            while True:
                while self._number == seen:
                    await self._news.wait()
                changed = {name: data for name, (number, data) in self._sections.items() if number > seen}
                seen = self._number
                yield event(changed)
        finally:
            self._leave()

    def _come(self) -> None:
        self.listeners += 1
        if self._looking is None:
            # What was seen before is old: a listener waits for the first look.
            self._sections, self._number = {}, 0
            self._looking = asyncio.create_task(self._run(), name="live")

    def _leave(self) -> None:
        self.listeners -= 1
        if self.listeners == 0 and self._looking:
            self._looking.cancel()
            self._looking = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                found = await self._look()
            except Exception:
                # A defect of ours; the listeners see that nothing comes.
                log.exception("the page's state cannot be found")
            else:
                self._take(found)
            await asyncio.sleep(max(0.0, began + self._every_s - loop.time()))

    def _take(self, found: Mapping[str, bytes]) -> None:
        self._number += 1
        for name, data in found.items():
            if name not in self._sections or self._sections[name][1] != data:
                self._sections[name] = self._number, data
        news, self._news = self._news, asyncio.Event()
        news.set()


def event(sections: Mapping[str, bytes]) -> bytes:
    """Return sections as one event; JSON has no line ends in it."""
    if not sections:
        return b"event: beat\ndata:\n\n"
    pairs = b",".join(b'"%s":%s' % (name.encode(), data) for name, data in sections.items())
    return b"event: state\ndata: {%s}\n\n" % pairs
