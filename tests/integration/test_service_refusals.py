"""The whole service where the kernel refuses descriptors: no attempt is counted, and it recovers by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fastproc.embedded.child import free_ports
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Service, eventually

Start = Callable[..., Service]


@pytest.fixture
def service(place: Place, tmp_path: Path) -> Iterator[Service]:
    port = free_ports(1)[0]
    made = Service(
        place, tmp_path, {"WORKER_CONCURRENCY": "2", "HTTP_PORT": str(port), "HTTP_HOST": "127.0.0.1"}
    )
    made.port = port  # type: ignore[attr-defined]
    made.wait_ready()
    yield made
    made.close()


def limit(pid: int, descriptors: int) -> None:
    """Set a process' soft limit."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))


@pytest.mark.parametrize("spare", [0, 3, 7])
async def test_a_service_short_of_descriptors_counts_no_attempt_and_recovers(
    spare: int, place: Place, service: Service
) -> None:
    pid = service.process.pid
    place.put("one.jpg", pictures.jpeg())
    soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    first = await place.add({"photoId": "first", "s3Key": "one.jpg"})
    place.until("completed", first)
    limit(pid, max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")) + 1 + spare)
    # A worker that dies now cannot be replaced; its slot must come back all the same. It is idle: a task that it had
    # would be an ordinary attempt.
    service.workers()[0].kill()
    eventually(lambda: "SIGKILL from outside" in service.said, "the service knows that it died")
    ids = [await place.add({"photoId": f"p-{n}", "s3Key": "one.jpg"}, attempts=1) for n in range(40)]
    await asyncio.sleep(3)
    assert {job_id: place.job(job_id)["failedReason"] for job_id in place.ids("failed")} == {}, service.said
    limit(pid, soft)
    place.until("completed", *ids)
    for job_id in ids:
        assert place.job(job_id)["atm"] == "1"
    eventually(lambda: service.get(service.port, "/ready")[0] == 200, "ready again")  # type: ignore[attr-defined]
    eventually(lambda: len(service.workers()) == 2, "both workers")
    assert service.said.count("\n") < 60, service.said
    assert "watchdog" not in service.said
    assert service.terminate() == Exit.OK


def test_four_hundred_idle_connections_take_no_descriptor_that_a_job_needs(
    place: Place, service: Service
) -> None:
    before = psutil.Process(service.process.pid).num_fds()
    port = service.port  # type: ignore[attr-defined]
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
    try:
        assert service.get(port, "/health")[0] == 200
        assert psutil.Process(service.process.pid).num_fds() < before + 50
    finally:
        for each in idle:
            each.close()
    assert service.terminate() == Exit.OK


NO_DESCRIPTORS = """
import asyncio, os, resource, sys, time, uvloop
from fastproc.supervisor.door import MAX_CONNECTIONS
from fastproc.supervisor.http import HttpServer
from fastproc.supervisor.health import Health
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.readiness import Readiness

async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    return answer[:12]

async def main():
    port = int(sys.argv[1])
    server = HttpServer(("127.0.0.1", port), Readiness(), Metrics(), Health(Readiness()))
    await server.start()
    assert await ask(port) == b"HTTP/1.1 200"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = __import__("socket").socket()
    waiting.setblocking(False)
    fd = os.dup(0)
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd, hard))
    before = time.process_time()
    await asyncio.get_running_loop().sock_connect(waiting, ("127.0.0.1", port))
    await asyncio.sleep(1)
    spent = time.process_time() - before
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    waiting.close()
    assert spent < 0.2, spent
    assert await ask(port) == b"HTTP/1.1 200"
    await server.close()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def test_without_descriptors_it_does_not_spin_and_serves_again_when_there_are_some() -> None:
    port = free_ports(1)[0]
    ran = subprocess.run([sys.executable, "-c", NO_DESCRIPTORS, str(port)], capture_output=True, timeout=60)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (0, 0), ran.stderr.decode()
