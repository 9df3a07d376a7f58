"""SIGTERM while a neighbour is away: the service ends within its grace and 3 s, and another one completes every job."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.faults import Fault, Hang, refusal
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.process import Service
from fastproc.embedded.trial.proxy import always
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import add_and_begin

GRACE_S, BEYOND_S = 1, 3.0
#: What a busy machine may add.
SLACK_S = 3.0


def scenario(make: Make, name: str) -> list[str]:
    with make() as place:
        first = place.start(SHUTDOWN_GRACE_S=str(GRACE_S))
        ending = signal.SIGHUP if name == HANGUP else signal.SIGTERM
        with OUTAGES[name](place) as begin:
            added = add_and_begin(place, first, 6, begin)
            time.sleep(0.7)
            wrong = ends_in_time(first, ending)
        second = place.start()
        place.until_ended(added)
        # A job that could not be given back was found stalled, which counts no attempt either.
        return wrong + invariants.broken(place.look(added, services=[second]), added)


def ends_in_time(service: Service, number: signal.Signals) -> list[str]:
    began = time.monotonic()
    service.signal(number)
    try:
        code = service.wait(GRACE_S + BEYOND_S + SLACK_S)
    except AssertionError as error:
        service.close()
        return [str(error)]
    took = time.monotonic() - began
    wrong = [] if code == 0 else [f"exit code {code} after {took:.1f} s: {service.lines[-3:]}"]
    return (
        wrong if any("stopped; " in line for line in service.lines) else [*wrong, "no last line in the log"]
    )


@contextmanager
def store(place: Place, fault: Fault) -> Iterator[Callable[[], None]]:
    def begin() -> None:
        place.s3_proxy.rule = always(fault)

    yield begin
    place.s3_proxy.rule = None


@contextmanager
def refusing(place: Place) -> Iterator[Callable[[], None]]:
    yield place.redis_proxy.refuse
    place.redis_proxy.allow()


@contextmanager
def frozen(place: Place) -> Iterator[Callable[[], None]]:
    yield lambda: os.kill(place.valkey.pid, signal.SIGSTOP)
    os.kill(place.valkey.pid, signal.SIGCONT)


@contextmanager
def misconf(place: Place) -> Iterator[Callable[[], None]]:
    yield lambda: place.redis.config_set("min-replicas-to-write", 1)
    place.redis.config_set("min-replicas-to-write", 0)


@contextmanager
def locked(place: Place) -> Iterator[Callable[[], None]]:
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        yield lambda: other.execute("BEGIN IMMEDIATE") and None
        other.execute("ROLLBACK")


@contextmanager
def nothing(place: Place) -> Iterator[Callable[[], None]]:
    yield lambda: None


HANGUP = "nobody is away, SIGHUP"
OUTAGES = {
    "the store answers 503": lambda place: store(place, refusal(503, b"SlowDown")),
    "the store hangs": lambda place: store(place, Hang()),
    "the database is locked": locked,
    "Redis refuses connections": refusing,
    "Redis is frozen": frozen,
    "Redis refuses writes": misconf,
    HANGUP: nothing,
}


@pytest.mark.parametrize("name", OUTAGES)
def test_a_service_ends_in_time_and_loses_nothing(name: str, wrong: Wrong) -> None:
    assert wrong(name) == []
