"""Logs what goes wrong with webhooks, one line in a while: a fault may go on for days, at every webhook."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from fastproc.backends.webhook.http import Answer
from fastproc.backends.webhook.outbox import Tries, Webhook
from fastproc.core.fields import fields

log = logging.getLogger("fastproc.backends.webhook")

LOG_EVERY_S = 10.0


class Seldom:
    """Logs one warning in LOG_EVERY_S, the others at debug."""

    def __init__(self) -> None:
        self._said_at = -LOG_EVERY_S
        self._unsaid = 0

    def warn(self, text: str, *args: object, extra: Mapping[str, Any] | None = None) -> None:
        """Log a line; it says how many there were since the last that was shown."""
        now = time.monotonic()
        if now - self._said_at < LOG_EVERY_S:
            self._unsaid += 1
            log.debug(text, *args, extra=extra)
            return
        more = f" ({self._unsaid} such lines since the last)" if self._unsaid else ""
        self._said_at, self._unsaid = now, 0
        log.warning(text + more, *args, extra=extra)


def told(webhook: Webhook, tries: Tries, answer: Answer, **more: int) -> dict[str, Any]:
    """Return the `extra` of a line about an attempt to deliver a webhook, after so many tries."""
    about, ms = webhook.about, round(answer.seconds * 1000)
    named = {"event": about.event, "type": about.type, "photoId": about.photo or None}
    return fields(**named, attempt=tries.attempts + 1, status=answer.status, ms=ms, **more)
