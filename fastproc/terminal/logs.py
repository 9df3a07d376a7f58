"""The format of the log: one line a record, whatever is in it, to stderr."""

from __future__ import annotations

import logging
import re
import time

#: Control characters and line separators: a photo's name must not be able to forge a log line.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class OneLine(logging.Formatter):
    """`2026-01-01T00:00:00.000Z INFO logger: message`, on one line: control characters and tracebacks are escaped."""

    converter = staticmethod(time.gmtime)

    def __init__(self, supervisor: int = 0) -> None:
        """`supervisor`: which one of several speaks; 0 where there is one, or for their master."""
        who = f"%(name)s supervisor={supervisor}" if supervisor else "%(name)s"
        super().__init__(f"%(asctime)s.%(msecs)03dZ %(levelname)s {who}: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], super().format(record))


def configure(level: str, supervisor: int = 0) -> None:
    """Log at `level` (debug, info, warn, warning, error) from now on; `supervisor` as for OneLine."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(supervisor))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
