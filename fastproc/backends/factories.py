"""Chooses the backends by scheme: `metadata_<scheme>.py` is the store of `<scheme>://`, the file name registers it.

Rule 1: a backend's file has one function `create`, which returns what satisfies the port; mypy proves it there.
Rule 2: nothing is connected here: `check` of the port does that.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from fastproc.backends.fan_out import FanOut
from fastproc.backends.redis_sink import Call
from fastproc.backends.webhook.tally import Tally
from fastproc.config.database import DatabaseConfig
from fastproc.config.quarantine import QuarantineConfig
from fastproc.config.reports import ReportsConfig
from fastproc.config.s3 import S3Config
from fastproc.config.settings import Config
from fastproc.config.traces import TracesConfig
from fastproc.config.uploads import UploadConfig
from fastproc.core.errors import ConfigError
from fastproc.core.snapshot import NeighbourNow
from fastproc.supervisor.book_ports import Reporter, Tracer
from fastproc.supervisor.ports import EventSink, MetadataStore, ObjectStore, Vault

#: What installs the drivers that are extras.
INSTALL = "pip install 'fastproc[postgres]'"


def object_store(config: S3Config, uploads: UploadConfig) -> ObjectStore:
    """Return the object store. Raises ConfigError."""
    store: ObjectStore = _backend("objects", "s3").create(config, uploads)
    return store


def picture_origins(config: Config) -> tuple[str, ...]:
    """Return where the addresses of pictures lead, for a page's policy."""
    found: tuple[str, ...] = _backend("s3", "signing").Signer(config.s3).origins(config.s3.buckets)
    return found


def metadata_store(config: DatabaseConfig) -> MetadataStore:
    """Return the metadata store that DATABASE_URL or SQLITE_PATH names. Raises ConfigError."""
    try:
        backend = _backend("metadata", config.scheme)
    except ImportError as error:
        # psycopg itself, or the libpq that it needs.
        raise ConfigError([f"DATABASE_URL: {config.scheme}:// needs psycopg: {INSTALL} ({error})"]) from error
    store: MetadataStore = backend.create(config)
    return store


def event_sink(call: Call, config: Config, tally: Tally) -> EventSink:
    """Return the sink of all events; `call` sends a Redis command, `tally` counts webhooks."""
    events, where = config.events, config.redis.where
    sinks: list[EventSink] = [_backend("events", "redis").create(call, where)]
    if events.socketio != "off":
        sinks.append(_backend("events", "socketio").create(call, events, where))
    if events.stream:
        sinks.append(_backend("events", "stream").create(call, events, where))
    if config.webhook.urls:
        webhooks = _backend("events", "webhook").create(call, config, tally)
        return FanOut([*sinks, webhooks], webhooks.neighbours)
    return FanOut(sinks) if len(sinks) > 1 else sinks[0]


def neighbours(events: EventSink) -> Callable[[], Sequence[NeighbourNow]]:
    """Return what says how the receivers of events stand, where there are any that can be away."""
    return events.neighbours if isinstance(events, FanOut) else tuple


def vault(config: QuarantineConfig, objects: ObjectStore) -> Vault | None:
    """Return the vault that QUARANTINE names, None where it is empty."""
    if not config.place:
        return None
    found: Vault = _backend("quarantine", "s3" if config.bucket else "folder").create(config, objects)
    return found


def reporter(config: ReportsConfig) -> Reporter | None:
    """Return where defects are reported, None where nowhere. Raises ConfigError where the extra is missing."""
    if not config.sentry_dsn:
        return None
    if importlib.util.find_spec("sentry_sdk") is None:
        raise ConfigError(["SENTRY_DSN: sentry-sdk is not installed: pip install 'fastproc[sentry]'"])
    found: Reporter = _backend("reports", "sentry").create(config)
    return found


def tracer(config: TracesConfig, queue: str) -> Tracer | None:
    """Return where the traces of that queue's jobs go, None where nowhere. Raises ConfigError without the extra."""
    if config.exporter == "none":
        return None
    # Not find_spec: it raises where even the parent package is missing.
    try:
        found: Tracer = _backend("traces", config.exporter).create(config, queue)
    except ImportError as error:
        raise ConfigError(
            [f"OTEL_TRACES_EXPORTER: OpenTelemetry is not installed: pip install 'fastproc[otel]' ({error})"]
        ) from error
    except ValueError as error:
        raise ConfigError([f"OTEL_*: OpenTelemetry refuses a setting of its own: {error}"]) from error
    return found


def _backend(kind: str, scheme: str) -> Any:
    return importlib.import_module(f"{__package__}.{kind}_{scheme}")
