"""A service whose servers refuse, hang or lie still: it waits without noise, says so, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastproc.config.s3 import S3Config
from fastproc.embedded.child import free_ports
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.valkey import Valkey
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import PATIENCE_S, Place, Service, Start, eventually, frozen

#: What a stop may take longer than the grace, and a second for a busy machine.
OVER_S = 3.0 + 1.0


@pytest.fixture
def place(own: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str) -> Iterator[Place]:
    made = Place(own, s3, s3_client, sqlite_path, unique)
    made.put("one.jpg", pictures.jpeg())
    yield made
    made.close()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Freeze a server: it accepts, and never answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def terminated_within(service: Service, seconds: float) -> None:
    began = time.monotonic()
    assert service.terminate() == Exit.OK
    took = time.monotonic() - began
    assert took < seconds, f"{took:.1f} s\n{service.said}"


def went_back(service: Service) -> tuple[int, int]:
    """What the service's last words say: jobs that went back, and those that could not."""
    [found] = re.findall(r"stopped; (\d+) jobs went back to the queue, (\d+) could not", service.said)
    return int(found[0]), int(found[1])


async def job_with_the_worker(place: Place, photo: str = "one") -> str:
    job_id = await place.add({"photoId": photo, "s3Key": "one.jpg"}, attempts=3)
    eventually(lambda: place.job(job_id).get("progress") == "25", "the photo is with the worker")
    return job_id


# --- writes are refused


async def test_refused_writes_cost_no_cpu_and_few_lines_and_all_jobs_end(place: Place, start: Start) -> None:
    [port] = free_ports(1)
    service = start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1")
    [worker] = service.workers()
    with frozen(worker):
        await job_with_the_worker(place, "first")
        place.redis.config_set("min-replicas-to-write", 1)
    try:
        eventually(lambda: "Redis does not serve" in service.said, "the outage is noticed")
        await asyncio.sleep(1.0)
        supervisor = psutil.Process(service.process.pid)
        lines, cpu = len(service.said.splitlines()), sum(supervisor.cpu_times()[:2])
        await asyncio.sleep(8.0)
        lines, cpu = len(service.said.splitlines()) - lines, sum(supervisor.cpu_times()[:2]) - cpu
        status, body = service.get(port, "/ready")
        assert status == 503
        assert json.loads(body)["redis"] is False
        assert "NOREPLICAS" in json.loads(body)["problems"]["redis"]
        assert (lines, cpu < 0.05 * 8.0) == (0, True), f"{lines} lines, {cpu:.2f} s of CPU\n{service.said}"
    finally:
        place.redis.config_set("min-replicas-to-write", 0)
    ids = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(20)]
    place.until("completed", *ids)
    eventually(lambda: len(place.ids("completed")) == 21, "the first job is finished too")
    assert all(place.job(job_id)["atm"] == "1" for job_id in place.ids("completed"))
    eventually(lambda: service.get(port, "/ready")[0] == 200, "the service is ready")
    assert service.said.count("Redis does not serve the queue") == 1
    assert service.said.count("Redis serves the queue again") == 1


async def test_finished_work_whose_lock_ran_out_meanwhile_is_done_again(place: Place, start: Start) -> None:
    service = start(LOCK_DURATION_MS="2000", STALLED_INTERVAL_MS="1000")
    [worker] = service.workers()
    with frozen(worker):
        job_id = await job_with_the_worker(place)
        place.redis.config_set("min-replicas-to-write", 1)
    try:
        eventually(lambda: "abandoned" in service.said, "the lock has run out")
    finally:
        place.redis.config_set("min-replicas-to-write", 0)
    place.until("completed", job_id)
    assert (place.job(job_id)["atm"], place.job(job_id)["stc"]) == ("1", "1")


@pytest.mark.parametrize("fault", ["frozen", "gone", "refuses"])
async def test_an_idle_service_is_not_ready_within_5_s(place: Place, start: Start, fault: str) -> None:
    [port] = free_ports(1)
    service = start(HTTP_PORT=str(port), HTTP_HOST="127.0.0.1")
    assert service.get(port, "/ready")[0] == 200

    def not_ready() -> str:
        status, body = service.get(port, "/ready")
        return str(json.loads(body)["problems"]["redis"]) if status == 503 else ""

    match fault:
        case "frozen":
            with stopped(place.valkey.pid):
                assert "no answer" in eventually(not_ready, "not ready", 5.0)
        case "gone":
            place.valkey.stop()
            try:
                assert eventually(not_ready, "not ready", 5.0)
            finally:
                place.valkey.start()
                place.valkey.wait_ready()
        case _:
            place.redis.config_set("min-replicas-to-write", 1)
            try:
                assert "NOREPLICAS" in eventually(not_ready, "not ready", 5.0)
            finally:
                place.redis.config_set("min-replicas-to-write", 0)
    eventually(lambda: service.get(port, "/ready")[0] == 200, "ready again", 15.0)


# --- SIGTERM while something is away


@pytest.mark.parametrize("fault", ["frozen", "gone", "refuses"])
async def test_sigterm_ends_a_service_whose_redis_is_away(place: Place, start: Start, fault: str) -> None:
    service = start(SHUTDOWN_GRACE_S="1", LOCK_DURATION_MS="3000", STALLED_INTERVAL_MS="1000")
    [worker] = service.workers()
    with frozen(worker):
        job_id = await job_with_the_worker(place)
        await _terminate_while_away(place, service, worker, fault)
    assert went_back(service) == (0, 1)
    start(LOCK_DURATION_MS="3000", STALLED_INTERVAL_MS="1000")
    place.until("completed", job_id)


async def _terminate_while_away(place: Place, service: Service, worker: psutil.Process, fault: str) -> None:
    if fault == "frozen":
        with stopped(place.valkey.pid):
            worker.resume()
            terminated_within(service, 1.0 + OVER_S)
    elif fault == "gone":
        # Its jobs must survive it.
        place.redis.config_set("save", "3600 1")
        place.redis.save()
        place.valkey.stop()
        try:
            worker.resume()
            terminated_within(service, 1.0 + OVER_S)
        finally:
            place.valkey.start()
            place.valkey.wait_ready()
    else:
        place.redis.config_set("min-replicas-to-write", 1)
        try:
            worker.resume()
            terminated_within(service, 1.0 + OVER_S)
        finally:
            place.redis.config_set("min-replicas-to-write", 0)


async def test_a_second_sigterm_ends_a_service_whose_redis_is_away_at_once(
    place: Place, start: Start
) -> None:
    service = start(SHUTDOWN_GRACE_S="600")
    [worker] = service.workers()
    with frozen(worker):
        await job_with_the_worker(place)
        with stopped(place.valkey.pid):
            worker.resume()
            service.process.terminate()
            eventually(lambda: "stopping:" in service.said, "it has begun to stop")
            await asyncio.sleep(0.5)
            terminated_within(service, OVER_S)


async def test_sigterm_ends_a_service_whose_database_is_locked(place: Place, start: Start) -> None:
    service = start(SHUTDOWN_GRACE_S="1")
    with contextlib.closing(sqlite3.connect(place.sqlite_path)) as database:
        database.execute("begin immediate")
        job_id = await place.add({"photoId": "one", "s3Key": "one.jpg"})
        eventually(lambda: place.job(job_id).get("progress") == "10", "the job is begun")
        await asyncio.sleep(0.5)
        terminated_within(service, 1.0 + OVER_S)
        database.execute("rollback")
    assert went_back(service)[1] == 0
    assert place.ids("active") == place.locks() == []


async def test_sigterm_ends_a_service_whose_s3_hangs(
    place: Place, start: Start, seaweedfs: SeaweedFS
) -> None:
    service = start(SHUTDOWN_GRACE_S="1")
    with stopped(seaweedfs.pid):
        job_id = await place.add({"photoId": "one", "s3Key": "one.jpg"})
        eventually(lambda: place.job(job_id).get("progress") == "10", "the job is begun")
        await asyncio.sleep(0.5)
        terminated_within(service, 1.0 + OVER_S)
    assert went_back(service)[1] == 0
    assert place.ids("active") == place.locks() == []


@pytest.mark.parametrize("variable", ["REDIS_PORT", "MINIO_PORT", "SQLITE_PATH"])
def test_sigterm_ends_a_start_whose_server_hangs(place: Place, start: Start, variable: str) -> None:
    accepted: list[socket.socket] = []
    with socket.socket() as silent, contextlib.closing(sqlite3.connect(place.sqlite_path)) as database:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(PATIENCE_S)
        if variable == "SQLITE_PATH":
            database.execute("begin exclusive")
            service = start(ready=False)
            eventually(lambda: has_open(service.process.pid, place.sqlite_path), "it asks the database")
        else:
            service = start(ready=False, **{variable: str(silent.getsockname()[1])})
            accepted.append(silent.accept()[0])
        time.sleep(0.2)
        began = time.monotonic()
        code = service.terminate()
        took = time.monotonic() - began
        assert took < 2.0, f"{took:.1f} s\n{service.said}"
    for connection in accepted:
        connection.close()
    assert code == Exit.OK, service.said


STUCK = """
import asyncio, time
from fastproc.commands import run

class App:
    gave_up = True
    def stop(self): ...
    async def serve(self): asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)

run.App = lambda *_, **__: App()
asyncio.run(run.serve(None))
"""


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", STUCK], timeout=PATIENCE_S, check=False)
    assert ended.returncode == Exit.OK
    assert time.monotonic() - began < 20.0


def has_open(pid: int, path: str) -> bool:
    """Whether the process has the file open."""
    with contextlib.suppress(FileNotFoundError):
        return any(os.readlink(link) == path for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


# --- a holder that is killed


async def test_a_job_whose_holder_was_killed_twice_is_completed(place: Place, start: Start) -> None:
    settings = {"LOCK_DURATION_MS": "1500", "STALLED_INTERVAL_MS": "1000"}
    job_id = ""
    for _ in range(2):
        service = start(**settings)
        [worker] = service.workers()
        with frozen(worker):
            job_id = job_id or await place.add({"photoId": "one", "s3Key": "one.jpg"}, attempts=1)
            eventually(lambda: place.ids("active") and place.locks(), "it holds the job")
            service.process.kill()
            service.wait()
        eventually(lambda: not place.locks(), "the lock has run out")
    start(**settings)
    place.until("completed", job_id)
    assert (place.job(job_id)["atm"], place.job(job_id)["stc"]) == ("1", "2")


async def test_a_job_of_a_killed_holder_is_back_within_two_sweeps(place: Place, start: Start) -> None:
    """The sweep that comes a moment too early must not cost a whole interval; it was one in 25."""
    settings = {"LOCK_DURATION_MS": "1000", "STALLED_INTERVAL_MS": "1000"}
    start(**settings)
    sweeps: list[int] = []
    deadline = time.monotonic() + 12
    while time.monotonic() < deadline:
        at = place.redis.get(place.key("stalled-check"))
        if at and (not sweeps or int(at) != sweeps[-1]):
            sweeps.append(int(at))
        await asyncio.sleep(0.01)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sweeps)]
    assert len(gaps) > 6
    assert max(gaps) < 1700, gaps


# --- a queue with a global concurrency


async def test_a_global_concurrency_of_one_goes_as_fast_as_the_rate_limit(place: Place, start: Start) -> None:
    place.redis.hset(place.key("meta"), "concurrency", 1)
    ids = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(30)]
    start(RATE_LIMIT_MAX="10", RATE_LIMIT_DURATION_MS="1000", WORKER_CONCURRENCY="2")
    place.until("completed", *ids)
    taken = sorted(int(place.job(job_id)["processedOn"]) for job_id in ids)
    assert taken[-1] - taken[0] < 8_000  # 10 at once and 20 more at 10 a second, each alone.
