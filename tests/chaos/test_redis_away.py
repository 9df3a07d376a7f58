"""Redis is away, slow, cut off, or answers reads and refuses writes: jobs with one attempt are completed."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from fastproc.bullmq.scripts import load as scripts
from fastproc.embedded.trial.faults import Delay, Fault, Hang, Lose, Reset
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.process import Service
from fastproc.embedded.trial.proxy import always
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import endure

AOF = ("--appendonly", "yes", "--appendfsync", "always")
#: Writes are refused when a snapshot has failed, which only matters where snapshots are configured.
SNAPSHOTS = ("--save", "3600 1000000", "--enable-protected-configs", "yes")


ABOUT_S = 10


def scenario(make: Make, name: str) -> list[str]:
    with make(valkey=OPTIONS.get(name, ())) as place:
        return CASES[name](place, place.start(**(LONG_LOCK if name in WRITES_REFUSED else {})))


def refused(place: Place, service: Service) -> list[str]:
    proxy = place.redis_proxy
    return endure(place, service, proxy.refuse, proxy.allow, not_ready="redis", calm=True)


def refused_longer_than_the_lock(place: Place, service: Service) -> list[str]:
    proxy = place.redis_proxy
    return endure(place, service, proxy.refuse, proxy.allow, seconds=4.0, not_ready="redis", calm=True)


def silent(place: Place, service: Service) -> list[str]:
    """Connections stay, and nothing is answered, for longer than the lock lasts."""
    return endure(
        place, service, lambda: rule(place, Hang()), lambda: rule(place, None), seconds=4.0, calm=True
    )


def slow(place: Place, service: Service) -> list[str]:
    return endure(place, service, lambda: rule(place, Delay(0.15)), lambda: rule(place, None))


def cut_again_and_again(place: Place, service: Service) -> list[str]:
    ends = threading.Event()

    def cut() -> None:
        while not ends.wait(0.25):
            place.redis_proxy.break_all()

    thread = threading.Thread(target=cut)

    def end() -> None:
        ends.set()
        thread.join()

    return endure(place, service, thread.start, end)


def frozen(place: Place, service: Service) -> list[str]:
    """The server is stopped for longer than the lock lasts, so that every job in hand is lost and found again."""
    pid = place.valkey.pid
    return endure(
        place,
        service,
        lambda: os.kill(pid, signal.SIGSTOP),
        lambda: os.kill(pid, signal.SIGCONT),
        seconds=4.0,
        waiting=20,
        calm=True,
    )


def restarted(place: Place, service: Service) -> list[str]:
    def start() -> None:
        place.valkey.start()
        place.valkey.wait_ready()

    return endure(place, service, place.valkey.stop, start, waiting=20, not_ready="redis", calm=True)


def replies_are_lost(place: Place, service: Service) -> list[str]:
    """Every third end of a job reaches the server, and its reply is lost with the connection."""
    sha, count = scripts()["moveToFinished"].sha1.encode(), itertools.count(1)

    def lose(words: bytes) -> Fault | None:
        return Lose() if sha in words and next(count) % 3 == 0 else None

    def begin() -> None:
        place.redis_proxy.rule = lose

    return endure(place, service, begin, lambda: rule(place, None))


def event_lost_twice(place: Place, service: Service) -> list[str]:
    """The connection breaks under a `completed` event, and again under its repetition."""
    left = [Reset()] * 2

    def lose(words: bytes) -> Fault | None:
        if not words.startswith(b"PUBLISH photo.processing.completed"):
            return None
        with suppress(IndexError):
            return left.pop()
        return None

    def begin() -> None:
        place.redis_proxy.rule = lose

    return endure(place, service, begin, lambda: rule(place, None))


def scripts_forgotten(place: Place, service: Service) -> list[str]:
    """SCRIPT FLUSH, again and again; progress and log rows come back."""
    ends = threading.Event()

    def flush() -> None:
        while not ends.wait(0.2):
            place.redis.script_flush()

    thread = threading.Thread(target=flush)

    def end() -> None:
        ends.set()
        thread.join()

    wrong = endure(place, service, thread.start, end)
    place.redis.script_flush()
    place.until_ended(place.add({"primer": "plain.jpg"}))
    [last] = place.add({"last": "plain.jpg"})
    place.until_ended([last])
    if place.job(last.id).get("progress") != "100":
        wrong.append(f"after SCRIPT FLUSH the progress is {place.job(last.id).get('progress')}")
    if not place.redis.llen(place.key(f"{last.id}:logs")):
        wrong.append("after SCRIPT FLUSH no log row is written")
    return wrong


def writes_refused(
    begin: Callable[[Place], object], end: Callable[[Place], object], *, calm: bool = True
) -> Callable[..., list[str]]:
    """Reads are answered, and writes with an error; the jobs were added before."""

    def run(place: Place, service: Service) -> list[str]:
        return endure(
            place,
            service,
            lambda: begin(place),
            lambda: end(place),
            seconds=4.0,
            waiting=20,
            calm=calm,
        )

    return run


def fail_a_snapshot(place: Place) -> None:
    gone = place.folder / "gone"
    gone.mkdir()
    place.redis.config_set("dir", str(gone))
    gone.rmdir()
    with suppress(Exception):
        place.redis.bgsave()
    wait_for_snapshot(place, "err")


def mend_snapshots(place: Place) -> None:
    place.redis.config_set("dir", str(place.folder))
    place.redis.bgsave()
    wait_for_snapshot(place, "ok")


def wait_for_snapshot(place: Place, status: str) -> None:
    from fastproc.embedded.trial.process import eventually

    eventually(
        lambda: place.redis.info("persistence")["rdb_last_bgsave_status"] == status,
        lambda: f"a snapshot is {status}",
    )


def config(name: str, value: object) -> Callable[[Place], object]:
    return lambda place: place.redis.config_set(name, value)


def acl(*rules: str) -> Callable[[Place], object]:
    return lambda place: place.redis.execute_command("ACL", "SETUSER", "default", *rules)


def rule(place: Place, fault: Fault | None) -> None:
    place.redis_proxy.rule = always(fault) if fault is not None else None


CASES: dict[str, Callable[[Place, Service], list[str]]] = {
    "refuses connections": refused,
    "refuses connections for longer than the lock": refused_longer_than_the_lock,
    "does not answer": silent,
    "is slow": slow,
    "is cut off again and again": cut_again_and_again,
    "is stopped for longer than the lock": frozen,
    "is restarted": restarted,
    "loses every third reply": replies_are_lost,
    "is cut off twice under an event": event_lost_twice,
    "forgets its scripts": scripts_forgotten,
    "MISCONF": writes_refused(fail_a_snapshot, mend_snapshots),
    "READONLY": writes_refused(
        lambda place: place.redis.replicaof("127.0.0.1", "1"),
        lambda place: place.redis.replicaof("NO", "ONE"),
    ),
    "NOREPLICAS": writes_refused(config("min-replicas-to-write", 1), config("min-replicas-to-write", 0)),
    # A script that begins with a removal is let pass, so some jobs go on.
    "OOM": writes_refused(config("maxmemory", 1), config("maxmemory", 0), calm=False),
    "rights withdrawn": writes_refused(acl("-@scripting"), acl("+@all")),
}
WRITES_REFUSED = ("MISCONF", "READONLY", "NOREPLICAS", "OOM", "rights withdrawn")
#: The locks outlast the outage, so that the jobs in hand are kept.
LONG_LOCK = {"LOCK_DURATION_MS": "8000"}
OPTIONS = {"is restarted": AOF, "MISCONF": SNAPSHOTS}


@pytest.mark.parametrize("name", CASES)
def test_no_job_fails_because_of_redis(name: str, wrong: Wrong) -> None:
    assert wrong(name) == []
