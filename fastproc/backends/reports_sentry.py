"""Sends defects to Sentry, by sentry-sdk as a plain client: it hooks into nothing, and sees only what it is given.

Rule 1: no integration, no global scope, no variables, no breadcrumbs, no arguments, no environment: an event has the
        defect, the count, the host's name and the release. An exception's message stays here (`core.defects`, rule 1).
Rule 2: events go through the SDK's own queue (bounded, full: dropped) and thread. A report that did not get there is
        one line in the log in LOG_EVERY_S.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any, Final

import sentry_sdk
from sentry_sdk.transport import HttpTransport

from fastproc import __version__
from fastproc.config.host import host_name
from fastproc.config.reports import ReportsConfig
from fastproc.core.defects import Defect
from fastproc.supervisor.book_ports import Reporter

log = logging.getLogger(__name__)

#: Longest wait for reports at the end: half of what all closes have together (`supervisor.stopping`).
FLUSH_S: Final = 0.5
LOG_EVERY_S: Final = 600.0
#: Reports that wait for Sentry; the SDK's own 100 would all come late.
MAX_WAITING: Final = 20


def create(config: ReportsConfig) -> Reporter:
    """Return the reporter. It connects to nothing before its first report."""
    return SentryReporter(config.sentry_dsn or "", config.sentry_environment)


class SentryReporter:
    """Satisfies the port Reporter."""

    def __init__(self, dsn: str, environment: str) -> None:
        # Its retries say what is wrong line by line, and the address with them.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        logging.getLogger("sentry_sdk").setLevel(logging.CRITICAL)
        self._client: Any = sentry_sdk.Client(
            dsn,
            release=f"fastproc@{__version__}",
            environment=environment,
            server_name=host_name(),
            transport=_Transport,
            transport_queue_size=MAX_WAITING,
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            include_local_variables=False,
            include_source_context=False,
            max_breadcrumbs=0,
            spotlight=False,
            traces_sample_rate=None,
            in_app_include=["fastproc"],
        )

    def report(self, found: Defect, count: int) -> None:
        """Queue the defect; nobody waits."""
        try:
            self._client.capture_event(event(found, count))
        except Exception as error:
            log.warning("a report to Sentry could not be made: %s", type(error).__name__)

    async def close(self) -> None:
        """Send what waits, for FLUSH_S at most."""
        await asyncio.to_thread(self._client.close, timeout=FLUSH_S)


def event(found: Defect, count: int) -> dict[str, Any]:
    """Return the defect in Sentry's form. Source: develop.sentry.dev, SDK data model, Exception and Stack Trace."""
    module, _, kind = found.kind.rpartition(".")
    frames = [
        {"module": each.module, "function": each.function, "lineno": each.line, "filename": each.module}
        for each in found.frames
    ]
    where = f"in the stage {found.stage}" if found.stage else "in the supervisor"
    exception: dict[str, Any] = {
        "type": kind,
        "module": module or None,
        "value": f"{where}; the service's log has its message",
        "mechanism": {"type": "fastproc", "handled": True},
    }
    if frames:
        # The SDK cannot read a stack trace without frames.
        exception["stacktrace"] = {"frames": frames}
    return {
        "level": "error",
        "platform": "python",
        "logger": "fastproc",
        "exception": {"values": [exception]},
        "fingerprint": [found.kind, found.place],
        "tags": {"process": "worker" if found.stage else "supervisor", "stage": found.stage or None},
        "extra": {"occurrences": count},
    }


class _Transport(HttpTransport):
    """Says when reports do not get there; the SDK alone is silent."""

    _said_at = -LOG_EVERY_S
    _lock = threading.Lock()

    def on_dropped_event(self, reason: str) -> None:
        with self._lock:
            if time.monotonic() - self._said_at < LOG_EVERY_S:
                return
            self._said_at = time.monotonic()
        log.warning("Sentry did not take a report (%s); the service is not affected", reason)
