"""How fast jobs may start: the token bucket as the intake uses it, and another rate while somebody waits for a token.

Rule 1: another rate begins without a burst, and holds at once for one who waits by the old one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from fastproc.core.limit import TokenBucket
from fastproc.core.rates import Rate


class RateLimit:
    """The limit; without a bucket there is none. `waits`: whether the next job, if there is one, waits for it."""

    waits = False

    def __init__(self, bucket: TokenBucket | None) -> None:
        self._bucket = bucket
        self._changed = asyncio.Event()

    @property
    def per_s(self) -> float:
        """Jobs that may start a second; 0: no limit."""
        return self._bucket.per_s if self._bucket else 0.0

    def tokens(self) -> float | None:
        """Return how many jobs may start at once; None without a limit."""
        return self._bucket.tokens(time.monotonic()) if self._bucket else None

    async def token(self) -> bool:
        """Wait for a token and take it; returns True."""
        try:
            while self._bucket and (wait_s := self._bucket.take(time.monotonic())):
                self.waits = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
            return True
        finally:
            self.waits = False

    def at_once(self) -> bool:
        """Take a token if there is one; return whether."""
        return self._bucket is None or self._bucket.take(time.monotonic()) == 0.0

    def renew(self) -> None:
        """Exchange a token that was taken earlier for one of now."""
        if self._bucket:
            self._bucket.renew(time.monotonic())

    def give_back(self) -> None:
        """Return a token that started nothing."""
        if self._bucket:
            self._bucket.give_back(time.monotonic())

    def change(self, rate: Rate) -> None:
        """Let jobs start at this rate from now on. Without a limit before, the first token is waited for."""
        now = time.monotonic()
        if not rate.max:
            self._bucket = None
        elif self._bucket:
            self._bucket = self._bucket.replaced(rate.max, rate.duration_s, now)
        else:
            self._bucket = TokenBucket(rate.max, rate.duration_s, now, full=False)
        was, self._changed = self._changed, asyncio.Event()
        was.set()
