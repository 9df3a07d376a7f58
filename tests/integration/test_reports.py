"""What nobody expected is told once: a traceback in the log, a report to Sentry; and Sentry away costs nothing.

The SDK is the real one; the server speaks Sentry's envelope endpoint.
"""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
import time
import venv
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from tests import pictures
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


class Sentry:
    """Takes envelopes, answers with `status`; keeps events and headers."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        outer, self.events, self.raw, self.status, self.slow_s = self, [], [], 200, 0.0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.closed.wait(outer.slow_s)
                outer.raw.append(body)
                _, about, *payload = body.split(b"\n")
                if json.loads(about)["type"] == "event":
                    outer.events.append(json.loads(payload[0]))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.dsn = f"http://0123456789abcdef@127.0.0.1:{self.server.server_address[1]}/42"

    def close(self) -> None:
        self.closed.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    made = Sentry()
    yield made
    made.close()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has all that this one has, and the stage as an installer would leave it there."""
    folder = tmp_path_factory.mktemp("broken")
    about = folder / "site" / "broken-1.0.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0.0\n")
    (about / "entry_points.txt").write_text("[fastproc.stages]\nbroken = stage_of_a_stranger\n")
    (folder / "site" / "stage_of_a_stranger.py").write_text(STAGE)
    venv.EnvBuilder(symlinks=True).create(folder / "venv")
    [packages] = (folder / "venv").glob("lib/python3*/site-packages")
    paths = [str(folder / "site"), str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    (packages / "everything.pth").write_text("\n".join(paths) + "\n")
    return str(folder / "venv" / "bin" / "python")


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
