"""Outages as long as real ones, and the soak: minutes each, so they run with `-m soak` only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fastproc.embedded.trial.faults import Hang, refusal
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.proxy import always
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import endure

BENCH = Path(__file__).parents[2] / "bench" / "soak.py"
#: The defaults of production.
LOCKS = {"LOCK_DURATION_MS": "30000", "STALLED_INTERVAL_MS": "30000"}


def scenario(make: Make, name: str) -> list[str]:
    with make() as place:
        return CASES[name](place)


def store_refused(place: Place) -> list[str]:
    proxy = place.s3_proxy
    service = place.start(**LOCKS)
    return endure(place, service, proxy.refuse, proxy.allow, seconds=120, jobs=1200, not_ready="storage")


def store_answers_503(place: Place) -> list[str]:
    service = place.start(**LOCKS)

    def begin() -> None:
        place.s3_proxy.rule = always(refusal(503, b"SlowDown"))

    def end() -> None:
        place.s3_proxy.rule = None

    return endure(place, service, begin, end, seconds=60, jobs=600, not_ready="storage")


def store_hangs(place: Place) -> list[str]:
    service = place.start(**LOCKS)

    def begin() -> None:
        place.s3_proxy.rule = always(Hang())

    def end() -> None:
        place.s3_proxy.rule = None

    return endure(place, service, begin, end, seconds=60, jobs=600, not_ready="storage")


def database_locked(place: Place) -> list[str]:
    service = place.start(**LOCKS)
    with contextlib.closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        return endure(
            place,
            service,
            lambda: other.execute("BEGIN IMMEDIATE"),
            lambda: other.execute("ROLLBACK"),
            seconds=60,
            jobs=600,
            not_ready="database",
        )


def redis_stopped(place: Place) -> list[str]:
    """For longer than the lock of production lasts."""
    service, pid = place.start(**LOCKS), place.valkey.pid
    return endure(
        place,
        service,
        lambda: os.kill(pid, signal.SIGSTOP),
        lambda: os.kill(pid, signal.SIGCONT),
        seconds=40,
        waiting=40,
        calm=True,
    )


CASES: dict[str, Callable[[Place], list[str]]] = {
    "the store refuses connections for 120 s": store_refused,
    "the store answers 503 for 60 s": store_answers_503,
    "the store hangs for 60 s": store_hangs,
    "the database is locked for 60 s": database_locked,
    "Redis is stopped for 40 s": redis_stopped,
}


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_a_long_outage_fails_no_job(name: str, wrong: Wrong) -> None:
    assert wrong(name) == []


@pytest.mark.soak
def test_the_soak_is_clean() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--faults", "--minutes", "15"],
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["clean"]
