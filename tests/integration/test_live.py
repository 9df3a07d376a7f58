"""Live control of a real service from the shell: workers, rate and log change under load, and no job pays for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import psutil
import pytest

from fastproc.config.host import host_name
from fastproc.terminal.exits import Exit
from tests import pictures
from tests.integration.service import Place, Service, Start, eventually, frozen

HOST = host_name()


def shell(place: Place, *words: str, code: int = 0) -> str:
    """Run a command as a person does; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "fastproc", *words],
        env=place.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def top(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell(place, "top", "--once", "--json"))
    return found


def shown(place: Place, number: int = 1) -> dict[str, Any]:
    """The snapshot of a supervisor, as it lies in Redis."""
    found: dict[str, Any] = json.loads(
        eventually(lambda: place.redis.get(place.key(f"fastproc:host:{HOST}:{number}")), "it shows itself")
    )
    return found


def states(place: Place) -> list[str]:
    return [worker["state"] for worker in shown(place)["workers"]]


async def added(place: Place, count: int, start: int = 0) -> list[str]:
    return [
        await place.add({"photoId": f"{place.queue}-{i}", "s3Key": "a.jpg"})
        for i in range(start, start + count)
    ]


async def test_workers_come_and_go_under_load_and_no_job_notices(place: Place, start: Start) -> None:
    place.put("a.jpg", pictures.jpeg(600, 400))
    service = start()
    ids = await added(place, 60)
    said = shell(place, "set", "concurrency", "3")
    assert f"{HOST}: concurrency 3 (was 1), until the service ends" in said
    eventually(lambda: len(service.workers()) == 3, "there are three")
    ids += await added(place, 60, 60)
    shell(place, "set", "concurrency", "1")
    eventually(lambda: len(service.workers()) == 1, "there is one")
    place.until("completed", *ids)
    assert {place.job(each)["atm"] for each in ids} == {"1"}
    assert {place.job(each).get("stc", "0") for each in ids} == {"0"}
    now = eventually(
        lambda: (seen := shown(place)) and seen["completed"] == 120 and len(seen["workers"]) == 1 and seen,
        "all are counted, and one worker is shown",
    )
    assert (now["given_back"], now["retried"], now["lost"], now["failed"]) == (0, 0, 0, 0)
    assert (now["concurrency"], now["max_in_hand"], now["changed"]) == (1, 2, {})
    assert [worker["deaths"] for worker in now["workers"]] == [0]
    assert re.search(r"order of \S+@\S+: set concurrency 3: concurrency 3", service.said)
    assert service.terminate() == Exit.OK
    assert place.redis.keys(place.key("fastproc:host:*")) == []


async def test_a_busy_worker_that_is_too_many_ends_after_its_photo_and_frees_its_memory(
    place: Place, start: Start
) -> None:
    place.put("a.jpg", pictures.jpeg(600, 400))
    service = start(WORKER_CONCURRENCY="2", PREFETCH="1")
    eventually(lambda: states(place) == ["idle", "idle"], "both are ready")
    one, two = service.workers()
    assert slots_with_memory(service) == {"0", "1"}
    with frozen(one), frozen(two):
        ids = await added(place, 3)
        eventually(lambda: states(place).count("busy") == 2 and shown(place)["in_hand"] == 3, "all in hand")
        shell(place, "set", "concurrency", "1")
        assert {one.pid, two.pid} == {each.pid for each in service.workers()}
        eventually(lambda: shown(place)["concurrency"] == 1, "it shows so")
    place.until("completed", *ids)
    eventually(lambda: len(service.workers()) == 1, "one has ended")
    eventually(lambda: len(slots_with_memory(service)) == 1, "its shared memory is free")
    assert {place.job(each)["atm"] for each in ids} == {"1"}
    more = await added(place, 2, 3)
    place.until("completed", *more)
    shell(place, "set", "concurrency", "2")
    eventually(lambda: states(place) == ["idle", "idle"], "it is back")
    again = await added(place, 4, 5)
    place.until("completed", *again)


def slots_with_memory(service: Service) -> set[str]:
    """The slots whose shared memory the supervisor has mapped."""
    maps = psutil.Process(service.process.pid).memory_maps(grouped=False)
    found = [re.search(r"fastproc-(?:source|output)-(\d+)", each.path) for each in maps]
    return {each[1] for each in found if each}


@pytest.fixture
def running(start: Start) -> Service:
    return start()


async def test_rate_and_level_change_and_hold_until_the_end(place: Place, running: Service) -> None:
    place.put("a.jpg", pictures.jpeg(300, 200))
    assert "rate 1/h (was off)" in shell(place, "set", "rate", "1/h")
    assert "log-level debug (was info)" in shell(place, "set", "log-level", "debug")
    shell(place, "set", "concurrency", "2")
    eventually(lambda: re.search(r"(?i)debug.*worker 1 has started", running.said), "more is logged")
    ids = await added(place, 3)
    # The service waited for a job already when there was no limit.
    place.until("completed", ids[0])
    assert "rate 2/h (was 1/h)" in shell(place, "set", "rate", "2/h")
    assert place.ids("completed") == [ids[0]]
    outcome = json.loads(shell(place, "set", "rate", "off", "--json"))
    assert (outcome["ok"], outcome["count"]) == (True, 1)
    place.until("completed", *ids)
    assert shown(place)["limiter"]["max"] == 0
    found = top(place)
    assert found["services"][0]["changed"] == {"concurrency": "2 (was 1)", "log-level": "debug (was info)"}
    assert "changed: concurrency 2 (was 1), log-level debug (was info), until the" in shell(
        place, "top", "--once"
    )


REFUSED = (
    ("concurrency 0", "fastproc pause --host"),
    ("concurrency 257", "257 workers are out of bounds: 1 to 256"),
    ("concurrency many", "expected a whole number of workers, 1 to 256"),
    ("rate fast", "10/s, 600/min or 10/1000ms; or off"),
    ("log-level loud", "expected one of debug, info, warn, error"),
    ("rate 5/s --host elsewhere", f"'elsewhere'; services run on: {HOST}"),
)


def test_what_cannot_be_is_refused_with_what_can(place: Place, running: Service) -> None:
    shown(place)
    for words, text in REFUSED:
        assert text in shell(place, "set", *words.split(), code=1)
    assert shown(place)["changed"] == {}
    assert len(re.findall(r"order of \S+: set", running.said)) == 5


def test_top_says_what_is_wrong_and_what_to_do(place: Place, start: Start) -> None:
    found = shell(place, "top", "--once")
    assert "no service is running" in found
    assert "do: start one with `fastproc run`" in found
    service = start()
    eventually(lambda: place.redis.get(place.key(f"fastproc:host:{HOST}:1")), "it shows itself")
    found = shell(place, "top", "--once")
    assert "idle: nothing waits, 1 worker ready" in found
    assert re.search(rf"^{HOST}  serving, 0 of 2 jobs in hand", found, re.MULTILINE)
    for name in ("redis", "storage", "database", "kernel"):
        assert re.search(rf"^  {name} ", found, re.MULTILINE)
    now = top(place)
    assert now["verdict"] == {"level": "good", "text": "idle: nothing waits, 1 worker ready", "remedy": ""}
    [about] = now["services"]
    assert (about["pid"], about["state"], about["of"]) == (service.process.pid, "serving", 1)
    assert about["workers"][0]["rss_bytes"] > 10 << 20
    service.process.kill()
    service.wait()
    key = place.key(f"fastproc:host:{HOST}:1")
    assert 0 < place.redis.pttl(key) <= 10_000
    place.redis.delete(key)
    assert "no service is running" in top(place)["verdict"]["text"]


def test_top_without_redis_is_an_error(place: Place) -> None:
    place.environment["REDIS_PORT"] = "1"
    shell(place, "top", "--once", code=Exit.UNREACHABLE)
    # What is printed is JSON all the same, and promises no second look.
    found = json.loads(shell(place, "top", "--once", "--json", code=Exit.UNREACHABLE))
    assert (found["verdict"]["level"], found["queue"]) == ("bad", None)
    assert not found["verdict"]["text"].endswith("it is tried again")


async def test_one_host_is_paused_and_resumed_and_says_so(place: Place, running: Service) -> None:
    place.put("a.jpg", pictures.jpeg(300, 200))
    assert "paused, until the service ends or is resumed" in shell(place, "pause", "--host", HOST)
    ids = await added(place, 2)
    found = top(place)
    assert found["verdict"]["text"] == f"the host is paused: {HOST}"
    assert found["verdict"]["remedy"] == f"`fastproc resume --host {HOST}`"
    assert (found["services"][0]["state"], place.redis.hexists(place.key("meta"), "paused")) == (
        "paused",
        False,
    )
    assert "takes jobs again" in shell(place, "resume", "--host", HOST)
    place.until("completed", *ids)
    assert {place.job(each)["atm"] for each in ids} == {"1"}


async def test_what_was_set_outlives_a_supervisor_but_not_the_service(place: Place, start: Start) -> None:
    place.put("a.jpg", pictures.jpeg(300, 200))
    service = start(ready=False, SUPERVISORS="2", WORKER_CONCURRENCY="2")
    eventually(lambda: service.said.count(" serves ") == 2, service.said)
    for number in (1, 2):
        shown(place, number)
    assert "1 is too few: each of 2 supervisors" in shell(place, "set", "concurrency", "1", code=1)
    shell(place, "set", "concurrency", "3")
    shell(place, "set", "rate", "11/h")
    shell(place, "pause", "--host", HOST)
    wanted = [(1, 5, "paused"), (2, 6, "paused")]
    eventually(lambda: [shares(place, number) for number in (1, 2)] == wanted, "each has its share")
    second = psutil.Process(shown(place, 2)["pid"])
    second.kill()
    eventually(lambda: shown(place, 2)["pid"] != second.pid, "it is started again")
    eventually(lambda: shares(place, 2) == (2, 6, "paused"), "it has what was set")
    assert shown(place, 2)["changed"] == {"concurrency": "3 (was 2)", "rate": "11/h (was off)"}
    ids = await added(place, 1)
    # A wait that was under way may have brought it: it went back.
    eventually(lambda: place.ids("wait") == ids, "nobody keeps it")
    assert service.terminate() == Exit.OK
    # The next service begins with its settings.
    start(SUPERVISORS="1")
    eventually(lambda: shares(place, 1) == (1, 0, "serving"), "it serves as it was set")
    place.until("completed", *ids)


def shares(place: Place, number: int) -> tuple[int, int, str]:
    about = shown(place, number)
    return about["concurrency"], about["limiter"]["max"], about["state"]
