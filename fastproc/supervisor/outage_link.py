"""Gives a supervisor's lines about outages to its master, which tells them once for all (`master.outages`).

Rule 1: a record is such a line by its field `outage`; every other one passes to the log as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from fastproc.core.fields import FIELDS, At
from fastproc.ipc.link import OutageTold


class ToMaster(logging.Filter):
    """A filter for the log's handler: `send` gives a message to the master."""

    def __init__(self, send: Callable[[OutageTold], None]) -> None:
        super().__init__()
        self._send = send

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the log writes the record itself."""
        about: dict[str, Any] = getattr(record, FIELDS, {})
        if "outage" not in about:
            return True
        since = about.get("since")
        at = since.seconds if isinstance(since, At) else time.time()
        plain = {name: value for name, value in about.items() if name != "since"}
        self._send(OutageTold(record.name, record.getMessage(), plain, at))
        return False
