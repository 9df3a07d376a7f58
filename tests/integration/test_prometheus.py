"""A real Prometheus scrapes a real service with the rules loaded: whatever is asked for is there, and alerts fire.

One scene for all, because each of its parts takes seconds: jobs that complete and fail, then servers that hang.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastproc.config.host import free_ratio, memory_limit
from fastproc.config.s3 import S3Config
from fastproc.core import advisories
from fastproc.embedded.child import free_ports
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.valkey import Valkey
from fastproc.worker import decoders
from tests import pictures, prometheus
from tests.integration.service import Place, Service, Start, eventually, frozen
from tests.receiver import SECRET, receiving

#: Panels that are empty while all is well, or for what this service does not have.
EMPTY_HERE = {
    "sum(increase(fastproc_supervisors_restarted_total",  # One supervisor has no master.
    "fastproc_queue_paused",  # Shown while it is.
}


@pytest.fixture
def place(own: Valkey, s3: S3Config, s3_client: Any, sqlite_path: str, unique: str) -> Iterator[Place]:
    made = Place(own, s3, s3_client, sqlite_path, unique)
    made.put("one.jpg", pictures.jpeg())
    made.put("text.jpg", b"this is no picture")
    yield made
    made.close()


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[prometheus.Server]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    made = prometheus.Server(folder, port)
    made.start()
    yield made
    made.stop()


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Freeze servers: they accept, and never answer."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def jobs_of_every_kind(place: Place, service: Service, port: int) -> None:
    """Three that complete, three that fail: by the photo, by its key, and by its worker's death."""
    good = [await place.add({"photoId": f"p{n}", "s3Key": "one.jpg"}) for n in range(3)]
    bad = [await place.add({"photoId": key, "s3Key": key}) for key in ("text.jpg", "none.jpg")]
    place.until("completed", *good)
    place.until("failed", *bad)
    [worker] = service.workers()
    with frozen(worker):
        killed = await place.add({"photoId": "killed", "s3Key": "one.jpg"}, attempts=1)
        eventually(
            lambda: value(service, port, 'worker_task_age_seconds{slot="0"}') > 0.1, "the worker has a task"
        )
        worker.kill()
    place.until("failed", killed)


def value(service: Service, port: int, name: str) -> float:
    found = re.search(rf"^fastproc_{re.escape(name)} (\S+)$", service.get(port, "/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else -1.0


def expected_names() -> set[str]:
    """What is asked for, without what only a service with a limit, a master or such a kernel has."""
    absent = {"fastproc_supervisors_alive", "fastproc_supervisors_restarted_total"}
    if not memory_limit():
        absent |= {"fastproc_memory_used_bytes", "fastproc_memory_limit_bytes"}
    if not Path("/proc/pressure/cpu").exists():
        absent.add("fastproc_host_pressure_ratio")
    return prometheus.names() - absent


def as_grafana_asks(expression: str) -> str:
    """An expression with its variables filled in, as for "all"."""
    for name, filled in {
        "$__rate_interval": "1m",
        "$__range": "1h",
        "$job": ".+",
        "$queue": ".+",
        "$instance": ".+",
    }.items():
        expression = expression.replace(name, filled)
    return expression


def true_of_this_machine(folder: Path) -> set[str]:
    """Alerts that fire here though the service is well: they are about decoders and disk."""
    holes = any(advisories.counted(decoders.versions()).values())
    full = (free_ratio(str(folder)) or 1.0) < 0.1
    return ({"FastprocDecoderHoles"} if holes else set()) | ({"FastprocDiskNearlyFull"} if full else set())


async def test_a_service_at_work_and_in_an_outage_as_prometheus_sees_it(
    place: Place,
    start: Start,
    server: prometheus.Server,
    port: int,
    own: Valkey,
    seaweedfs: SeaweedFS,
    tmp_path: Path,
) -> None:
    settings = {"WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_PRIVATE": "true", "HEALTH_STALE_S": "3"}
    with receiving() as hook:
        service = start(
            **settings,
            WEBHOOK_URL=hook.url,
            RATE_LIMIT_MAX="1000",
            HTTP_HOST="127.0.0.1",
            HTTP_PORT=str(port),
        )
        eventually(lambda: server.query("fastproc_supervisors_ready == 1"), "it is scraped")
        await jobs_of_every_kind(place, service, port)
        eventually(
            lambda: server.query('fastproc_queue_jobs{state="failed"} == 3'), "all are counted, and looked at"
        )
        eventually(lambda: server.query("fastproc_workers_alive == 1"), "the worker is back")
        what_was_done(server, place.queue)
        every_series_and_panel_is_there(server)
        quiet = true_of_this_machine(tmp_path)
        eventually(
            lambda: server.firing().keys() == quiet, f"of a healthy service fire: {quiet} {server.firing()}"
        )
        with stopped(own.pid, seaweedfs.pid):
            eventually(
                lambda: {"FastprocNeighbourAway", "FastprocNotReady"} <= server.firing().keys(), "it fires"
            )
            away = eventually(
                lambda: neighbours(server) >= {"redis", "storage_reads"} and neighbours(server), "both"
            )
            eventually(lambda: not server.query("fastproc_queue_jobs"), "nobody knows what waits")
            assert service.get(port, "/metrics")[0] == 200
        assert away <= {"redis", "storage_reads", "storage_writes"}
        eventually(lambda: "FastprocNeighbourAway" not in server.firing(), "it is over")


def neighbours(server: prometheus.Server) -> set[str]:
    """Which are away, by the words of the alert."""
    alerts = server.firing().get("FastprocNeighbourAway", [])
    return {alert["annotations"]["summary"].partition(" is away for 127.0.0.1")[0] for alert in alerts}


def what_was_done(server: prometheus.Server, queue: str) -> None:
    """The figures of the jobs, each from its own series."""
    figures = {
        'fastproc_jobs_total{outcome="completed"}': 3,
        'fastproc_jobs_total{outcome="failed"}': 3,
        'fastproc_errors_total{code="UNSUPPORTED_FORMAT"}': 1,
        'fastproc_errors_total{code="OBJECT_NOT_FOUND"}': 1,
        'fastproc_errors_total{code="WORKER_KILLED"}': 1,
        'fastproc_errors_total{code="POISON_PHOTO"}': 0,
        "fastproc_queue_wait_seconds_count": 6,
        'fastproc_step_seconds_count{step="fetch"}': 6,
        'fastproc_step_seconds_count{step="upload"}': 3,
        'fastproc_step_seconds_count{step="row"}': 12,
        'fastproc_step_seconds_count{step="event"}': 6,
        f'fastproc_queue_jobs{{queue="bull:{queue}",state="completed"}}': 3,
        'fastproc_worker_restarts_total{slot="0"}': 1,
        "fastproc_worker_deaths_total": 1,
        'fastproc_worker_task_age_seconds{slot="0"}': 0,
        'fastproc_breaker_state{neighbour="storage_reads",state="closed"}': 1,
        'fastproc_breaker_state{neighbour="webhooks",state="closed"}': 1,
        "fastproc_rate_limit_per_second": 1000,
        "fastproc:backlog_seconds": 0,
    }
    found = {name: [float(one["value"][1]) for one in server.query(name)] for name in figures}
    assert found == {name: [number] for name, number in figures.items()}


def every_series_and_panel_is_there(server: prometheus.Server) -> None:
    """No name that rules and dashboard ask for is missing, and no panel is empty without a reason."""
    assert expected_names() - set(server.get("label/__name__/values")) == set()
    targets = [target["expr"] for panel in prometheus.panels() for target in panel.get("targets", ())]
    empty = [expression for expression in targets if not server.query(as_grafana_asks(expression))]
    bare = [each for each in empty if not any(name in each for name in EMPTY_HERE)]
    if not memory_limit():
        bare = [each for each in bare if not each.startswith("fastproc_memory_")]
    assert bare == []
    for rule in (*prometheus.rules("alert").values(), *prometheus.rules("record").values()):
        server.query(rule["expr"])
    for group in server.get("rules")["groups"]:
        assert [rule["name"] for rule in group["rules"] if rule["health"] == "err"] == []
