"""What the service's metrics count of webhooks. It stands alone, so that who names the port loads no HTTP client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Tally(Protocol):
    """What is counted of webhooks."""

    def webhook(self, outcome: str, seconds: float) -> None:
        """One attempt ended: `delivered` or `failed`."""

    def webhooks_lost(self, count: int) -> None:
        """Webhooks were given up: too old, or over the bound, or not taken by Redis."""

    def webhooks_waiting(self, endpoint: str, count: int) -> None:
        """So many are in a receiver's outbox."""

    def webhook_receiver(self, endpoint: str, state: Callable[[], str]) -> None:
        """There is a receiver; `state` says how it stands: `closed`, `trial`, `open`."""
