"""Logs a warning that many jobs may have at once, or for days: one line in a while, which says how many there were."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from fastproc.core.fields import FIELDS, fields

#: As long as for webhooks (`backends.webhook.log`): six lines a minute can be read, and show that it goes on.
LOG_EVERY_S: Final = 10.0


class Seldom:
    """Logs one warning of each text in LOG_EVERY_S to `log`, the others at debug."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        #: By text: when it was said last, and how often it was not since.
        self._said: dict[str, tuple[float, int]] = {}

    def warn(self, text: str, *args: object, extra: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Log a line; the field `unsaid` says how many there were since the last that was shown."""
        now, about = time.monotonic(), (extra or {}).get(FIELDS, {})
        # A time-out has no words.
        args = tuple(
            type(each).__name__ if isinstance(each, Exception) and not str(each) else each for each in args
        )
        said_at, unsaid = self._said.get(text, (now - LOG_EVERY_S, 0))
        if now - said_at < LOG_EVERY_S:
            self._said[text] = (said_at, unsaid + 1)
            self._log.debug(text, *args, extra=extra)
            return
        self._said[text] = (now, 0)
        self._log.warning(text, *args, extra=fields(**about, unsaid=unsaid or None))
