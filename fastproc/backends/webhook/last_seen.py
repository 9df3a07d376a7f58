"""How a receiver of webhooks stands, for people who look: its latency, its newest error, since when it is away."""

from __future__ import annotations

import time

from msgspec.structs import replace

from fastproc.backends.webhook.outbox import now_ms
from fastproc.core.snapshot import NeighbourNow
from fastproc.core.webhook import Rest


class LastSeen:
    """What was seen of one receiver last."""

    def __init__(self, name: str) -> None:
        self._last = NeighbourNow(name="webhook", where=name)

    def passed(self, seconds: float) -> None:
        """It took a webhook within so many seconds."""
        self._last = replace(self._last, latency_s=seconds)

    def failed(self, words: str) -> None:
        """It did not take one."""
        self._last = replace(self._last, last_error=words, last_error_at_ms=now_ms())

    def now(self, rest: Rest) -> NeighbourNow:
        """Return how it stands: it is away while it is sick."""
        if not rest.is_sick:
            return self._last
        since_ms = now_ms() - round((time.monotonic() - rest.since) * 1000)
        return replace(self._last, away=self._last.last_error, away_since_ms=since_ms)
