"""What nobody expected is told once: a traceback in the log, a report to Sentry; and Sentry away costs nothing.

The SDK is the real one; the server speaks Sentry's envelope endpoint.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fastproc import __version__
from fastproc.backends import reports_sentry
from fastproc.config.reports import ReportsConfig
from fastproc.config.s3 import S3Config
from fastproc.core.defects import Defect, Frame
from fastproc.embedded.child import free_ports
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.exits import Exit
from tests import pictures, plugins
from tests.collecting import Collecting
from tests.integration.service import Place, Service

ROOT = Path(__file__).parents[2]

#: A stage as a stranger writes it: its message and its variables have what nobody may see elsewhere.
STAGE = """
from fastproc.worker.stage import StageResult

NAME = "broken"

def run(work):
    owner = "Anna-in-a-variable"
    return look_up({}, owner)

def look_up(table, owner):
    raise KeyError("Anna-in-a-message")
"""


class Sentry(Collecting):
    """Takes envelopes; keeps events, and what it was sent."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.raw: list[bytes] = []
        super().__init__()
        self.dsn = f"http://0123456789abcdef@{self.address}/42"

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.raw.append(body)
        _, about, *payload = body.split(b"\n")
        if json.loads(about)["type"] == "event":
            self.events.append(json.loads(payload[0]))


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    made = Sentry()
    yield made
    made.close()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has all that this one has, and the stage as an installer would leave it there."""
    folder = tmp_path_factory.mktemp("broken")
    plugins.left(folder / "site", "broken", "stage_of_a_stranger", STAGE)
    return plugins.interpreter(folder / "venv", folder / "site")


@pytest.fixture
def place(valkey: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str) -> Iterator[Place]:
    made = Place(valkey, s3, s3_client, sqlite_path, unique)
    made.put("one.jpg", pictures.jpeg())
    yield made
    made.close()


@pytest.fixture
def broken(place: Place, python: str, tmp_path: Path) -> Iterator[Any]:
    """Starts a service whose pipeline ends in the stage."""
    made: list[Service] = []

    def go(dsn: str) -> Service:
        settings = {"PIPELINE": "validation,broken", "SENTRY_DSN": dsn, "SENTRY_ENVIRONMENT": "night"}
        made.append(Service(place, tmp_path, settings, python))
        made[0].wait_ready()
        return made[0]

    yield go
    for service in made:
        service.close()


async def failed(place: Place, count: int) -> None:
    ids = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}, attempts=1) for n in range(count)]
    place.until("failed", *ids)
    assert place.job(ids[0])["failedReason"] == "PROCESSING_ERROR: KeyError: 'Anna-in-a-message' (in broken)"


async def test_a_stage_that_breaks_is_one_traceback_and_one_report_without_what_it_saw(
    place: Place, broken: Any, sentry: Sentry
) -> None:
    service = broken(sentry.dsn)
    await failed(place, 4)
    assert service.terminate() == Exit.OK
    assert service.said.count("Traceback") == 1
    assert "module stage_of_a_stranger, line 11, in look_up\\nKeyError" in service.said

    [event] = sentry.events
    [exception] = event["exception"]["values"]
    assert (exception["type"], event["tags"]) == ("KeyError", {"process": "worker", "stage": "broken"})
    last = exception["stacktrace"]["frames"][-1]
    assert (last["module"], last["function"], last["lineno"]) == ("stage_of_a_stranger", "look_up", 11)
    assert event["server_name"] == socket.gethostname()
    assert (event["release"], event["environment"]) == (f"fastproc@{__version__}", "night")
    assert event["extra"] == {"occurrences": 1}
    assert event["sdk"].get("integrations", []) == []
    assert {"modules", "contexts", "user", "request", "breadcrumbs"} & set(event) == set()
    sent = b"".join(sentry.raw).decode()
    secrets = (place.environment["MINIO_SECRET_KEY"], place.environment["PATH"], str(ROOT), "X-Amz-Signature")
    assert [word for word in ("Anna", "p0", "one.jpg", *secrets) if word in sent] == []


@pytest.mark.parametrize(("slow_s", "flush_s", "count"), [(0.2, 20.0, 1), (5.0, 0.2, 0)])
async def test_the_end_waits_for_reports_and_not_for_long(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, slow_s: float, flush_s: float, count: int
) -> None:
    monkeypatch.setattr(reports_sentry, "FLUSH_S", flush_s)
    sentry.slow_s = slow_s
    reporter = reports_sentry.create(ReportsConfig(sentry_dsn=sentry.dsn))
    reporter.report(Defect("KeyError"), 1)
    await reporter.close()
    assert len(sentry.events) == count
    await reporter.close()


@pytest.mark.parametrize(("fault", "reason"), [("gone", "network"), ("refuses", "status_403")])
async def test_reports_that_do_not_get_there_are_one_line(
    sentry: Sentry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    reason: str,
) -> None:
    monkeypatch.setattr(reports_sentry, "FLUSH_S", 20.0)
    sentry.status = 403
    dsn = sentry.dsn if fault == "refuses" else f"http://key@127.0.0.1:{free_ports(1)[0]}/42"
    reporter = reports_sentry.create(ReportsConfig(sentry_dsn=dsn))
    for line in range(3):
        reporter.report(Defect("KeyError", (Frame("m", "f", line),)), 1)
    await reporter.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"Sentry did not take a report ({reason}); the service is not affected"
    ]


async def test_a_silent_sentry_fails_nothing_and_holds_no_stop(place: Place, broken: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service = broken(f"http://key@127.0.0.1:{silent.getsockname()[1]}/42")
        await failed(place, 3)
        began = time.monotonic()
        assert service.terminate() == Exit.OK
        # The SDK itself would wait for a silent server for 30 s.
        assert time.monotonic() - began < 10.0
    assert service.said.count("Traceback") == 1
    assert "urllib3" not in service.said
    assert "key@" not in service.said
