"""Several supervisors under one master, as an operator starts them: what each does, and what becomes of all."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator

import psutil
import pytest

from fastproc import parts
from fastproc.config.settings import load
from fastproc.config.sharing import shared
from fastproc.core import admission
from fastproc.core.shares import MASTER_BYTES, Share
from fastproc.embedded.child import free_ports
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Service, Start, eventually, frozen

#: A killed supervisor's jobs are found soon.
QUICK = {"LOCK_DURATION_MS": "1000", "STALLED_INTERVAL_MS": "500"}
JOBS = 12


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def two(place: Place, start: Start, port: int) -> Iterator[Service]:
    """Two supervisors with a worker each; what is left of them at the end is killed."""
    place.put("a.jpg", pictures.jpeg(600, 400))
    service = start(
        ready=False, SUPERVISORS="2", WORKER_CONCURRENCY="2", HTTP_PORT=str(port), PREFETCH="0", **QUICK
    )
    eventually(lambda: service.said.count(" serves ") == 2, service.said)
    everybody = family(service)
    yield service
    for process in everybody:
        if process.is_running():
            process.kill()


def family(service: Service) -> list[psutil.Process]:
    """The supervisors and their workers."""
    return psutil.Process(service.process.pid).children(recursive=True)


def supervisor(service: Service, number: int) -> psutil.Process:
    pid = int(re.findall(rf"supervisor {number} of 2 has pid (\d+)", service.said)[-1])
    return psutil.Process(pid)


def metric(service: Service, port: int, name: str) -> float:
    text = service.get(port, "/metrics")[1]
    [value] = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(value)


def ready(service: Service, port: int) -> int:
    """How many supervisors are ready; the service must be, whatever happens to one of them."""
    status, body = service.get(port, "/ready")
    assert status == 200, body
    return int(json.loads(body)["supervisors"]["ready"])


async def added(place: Place, count: int) -> list[str]:
    return [await place.add({"photoId": f"{place.queue}-{i}", "s3Key": "a.jpg"}) for i in range(count)]


async def test_both_take_jobs_and_one_that_is_killed_comes_back(
    place: Place, two: Service, port: int
) -> None:
    ids = await added(place, JOBS)
    place.until("completed", *ids)
    eventually(
        lambda: metric(two, port, 'fastproc_jobs_total{outcome="completed"}') == JOBS, "all are counted"
    )
    for number in (1, 2):
        assert f"supervisor={number} message=completed" in two.said
    assert {place.row(f"{place.queue}-{i}")["processing_status"] for i in range(JOBS)} == {"completed"}
    assert {place.job(each)["atm"] for each in ids} == {"1"}
    assert metric(two, port, "fastproc_workers_alive") == 2

    # What a terminal sends reaches the master alone, which passes it on once.
    assert (
        len({os.getpgid(each) for each in (two.process.pid, *(supervisor(two, i).pid for i in (1, 2)))}) == 3
    )

    killed, [worker] = supervisor(two, 2), supervisor(two, 2).children()
    other = supervisor(two, 1).children()[0]
    with frozen(worker), frozen(other):
        more = await added(place, 2)
        eventually(lambda: len(place.ids("active")) == 2, "each has one in hand")
        killed.kill()
        eventually(lambda: ready(two, port) == 1, "one is gone, which leaves enough")
        assert metric(two, port, 'fastproc_jobs_total{outcome="completed"}') == JOBS
    place.until("completed", *more)
    eventually(lambda: metric(two, port, "fastproc_supervisors_alive") == 2, "it is back")
    assert metric(two, port, "fastproc_supervisors_restarted_total") == 1
    total = JOBS + len(more)
    eventually(
        lambda: metric(two, port, 'fastproc_jobs_total{outcome="completed"}') == total, "all are counted"
    )
    body = json.loads(two.get(port, "/health")[1])
    assert (body["status"], body["metrics"]["jobsProcessed"]) == ("healthy", total)
    assert two.said.count("decoders: libvips") == 1
    assert two.said.count("supervisor 2 ended: SIGKILL") == 1

    with frozen(supervisor(two, 2)):
        status, answer = two.get(port, "/health")
        assert (status, json.loads(answer)["problems"]) == (503, ["supervisor 2 does not answer"])
        assert ready(two, port) == 1
    eventually(lambda: two.get(port, "/health")[0] == 200, "it answers again")
    assert two.terminate() == Exit.OK


async def test_one_that_is_asked_to_end_comes_back_and_all_that_it_did_is_counted(
    place: Place, two: Service, port: int
) -> None:
    ids = await added(place, JOBS)
    place.until("completed", *ids)
    ended = supervisor(two, 1)
    ended.terminate()
    eventually(lambda: two.said.count("has pid") == 3, "it is started again")
    # It was never asked before it ended: what it did was the last that it told.
    assert "supervisor=1 message=completed" in two.said
    eventually(
        lambda: metric(two, port, 'fastproc_jobs_total{outcome="completed"}') == JOBS, "all are counted"
    )
    eventually(lambda: ready(two, port) == 2, "both serve")
    assert two.terminate() == Exit.OK


async def test_when_the_master_is_killed_nobody_is_left_and_the_jobs_go_back(
    place: Place, two: Service
) -> None:
    everybody = family(two)
    assert len(everybody) == 4
    workers = [each for each in everybody if "fastproc.worker.main" in each.cmdline()]
    with frozen(workers[0]), frozen(workers[1]):
        ids = await added(place, 2)
        eventually(lambda: len(place.ids("active")) == 2, "each has one in hand")
        two.process.kill()
        two.process.wait()
        eventually(lambda: not any(each.is_running() for each in everybody), "nobody is left")
    assert set(place.ids("wait")) == set(ids)
    assert place.locks() == []


async def test_two_signals_give_the_jobs_of_all_back_and_the_exit_is_clean(
    place: Place, two: Service
) -> None:
    everybody = family(two)
    workers = [each for each in everybody if "fastproc.worker.main" in each.cmdline()]
    with frozen(workers[0]), frozen(workers[1]):
        ids = await added(place, 2)
        eventually(lambda: len(place.ids("active")) == 2, "each has one in hand")
        two.process.send_signal(signal.SIGTERM)
        eventually(lambda: two.said.count("stopping: 1 jobs in hand") == 2, "both were told")
        two.process.send_signal(signal.SIGTERM)
        assert two.wait() == Exit.OK
    assert two.said.count("stopped; 1 jobs went back to the queue, 0 could not") == 2
    assert set(place.ids("wait")) == set(ids)
    assert {place.job(each).get("atm", "0") for each in ids} == {"0"}
    eventually(lambda: not any(each.is_running() for each in everybody), "nobody is left")


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"SQLITE_PATH": "/nowhere/p.db"}, Exit.UNREACHABLE, "SQLITE_PATH: /nowhere does not exist"),
        ({"PIPELINE": "validation,none"}, Exit.CONFIG, "PIPELINE: there is no stage 'none'"),
        ({"SUPERVISORS": "3"}, Exit.CONFIG, "SUPERVISORS: 3 is more than WORKER_CONCURRENCY (2)"),
    ],
)
def test_what_is_wrong_is_said_once(start: Start, wrong: dict[str, str], code: Exit, said: str) -> None:
    service = start(ready=False, **{"SUPERVISORS": "2", "WORKER_CONCURRENCY": "2", **wrong})
    assert service.wait() == code
    assert service.said.count(said) == 1
    assert service.said.count('message="exit ') == 1


async def test_a_supervisor_plans_with_its_part_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "memory_limit", lambda: 4 << 30)
    config, share = load({"WORKER_CONCURRENCY": "2", "SUPERVISORS": "2"}, 2), Share(2, 2, again=True)
    own = shared(config, share)
    async with parts.started_pool(own, share=share) as pool:
        budget = pool.memory._host.budget_of(1)
    part = (4 << 30) - MASTER_BYTES >> 1
    assert budget == admission.budget_bytes(part, 1, own.pool.memory_bytes, 1) < 2 << 30
    rules = parts.rules_of(own, share)
    assert rules.max_inflight_bytes == min(part // 4, own.pool.max_inflight_bytes)
    assert (rules.rate_max, rules.rate_full) == (5, False)
