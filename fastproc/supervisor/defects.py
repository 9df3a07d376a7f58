"""Tells of exceptions that nobody expected: once each in the log with its traceback, and to a reporter if there is one.

Rule 1: whatever is logged with an exception, at level error, is a defect, wherever that is.
Rule 2: a reporter gets a value and returns at once. That it is away, slow or wrong costs nobody anything.
Rule 3: log records come from any thread: a handler's lock keeps them apart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fastproc.core.defects import Defect, Telling, defect
from fastproc.core.errors import FastprocError
from fastproc.core.fields import fields
from fastproc.supervisor.book_ports import Reporter

log = logging.getLogger(__name__)

#: Loggers of reporters themselves: what they say must not become a report.
OWN: Final = ("sentry_sdk", "urllib3")


class Defects(logging.Handler):
    """Counts defects and tells of them; as a handler, hears of those that are logged elsewhere."""

    def __init__(self, reporter: Reporter | None = None) -> None:
        super().__init__(logging.ERROR)
        self._reporter = reporter
        self._telling = Telling(time.monotonic())

    def seen(self, found: Defect, about: str, **more: Any) -> None:
        """A defect that was caught and not logged: `about` is its message, `more` who has it. Logged when it is due."""
        self.acquire()
        try:
            count = self._telling.seen(found, time.monotonic())
        finally:
            self.release()
        if count:
            stage, times = found.stage or None, count if count > 1 else None
            told = fields(**more, stage=stage, place=found.place or None, times=times, traceback=found.text())
            log.error("unexpected: %s", about, extra=told)
            self._report(found, count)

    def emit(self, record: logging.LogRecord) -> None:
        """Report an exception that was logged, where it is due."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or record.name.split(".")[0] in OWN:
            return
        found = defect(error)
        if count := self._telling.seen(found, time.monotonic()):
            self._report(found, count)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what is logged in the block, and what ends it."""
        logging.getLogger().addHandler(self)
        try:
            yield
        except FastprocError:
            raise
        except Exception as error:
            # The last words in the log come later, when nobody listens any more.
            self._report(defect(error), 1)
            raise
        finally:
            logging.getLogger().removeHandler(self)

    def _report(self, found: Defect, count: int) -> None:
        if self._reporter:
            self._reporter.report(found, count)
