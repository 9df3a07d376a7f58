"""Logs what goes wrong with webhooks, one line in a while: a fault may go on for days, at every webhook."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("fastproc.backends.webhook")

LOG_EVERY_S = 10.0


class Seldom:
    """Logs one warning in LOG_EVERY_S, the others at debug."""

    def __init__(self) -> None:
        self._said_at = -LOG_EVERY_S
        self._unsaid = 0

    def warn(self, text: str, *args: object) -> None:
        """Log a line; it says how many there were since the last that was shown."""
        now = time.monotonic()
        if now - self._said_at < LOG_EVERY_S:
            self._unsaid += 1
            log.debug(text, *args)
            return
        more = f" ({self._unsaid} such lines since the last)" if self._unsaid else ""
        self._said_at, self._unsaid = now, 0
        log.warning(text + more, *args)
