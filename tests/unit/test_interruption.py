"""What must not be left half done waits for its end before a signal counts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from fastproc import interruption
from tests import logfmt


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signals handled as in a command, and nobody's process ended by them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(logging, "disable", lambda: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interruption.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def attended(steps: list[str], work: str) -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with interruption.attended(task, once=True):
            if work == "held":
                with interruption.held():
                    os.kill(os.getpid(), signal.SIGINT)
                    steps.append("whole")
            elif work == "computes":
                os.kill(os.getpid(), signal.SIGINT)
                steps.append("went on")
            else:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
                await asyncio.sleep(10)
            steps.append("and on")

    asyncio.run(main())


@pytest.mark.parametrize(("work", "steps"), [("held", ["whole"]), ("computes", []), ("waits", [])])
def test_a_command_is_cancelled_where_it_is_but_for_what_is_held(work: str, steps: list[str]) -> None:
    done: list[str] = []
    with pytest.raises(asyncio.CancelledError):
        attended(done, work)
    assert done == steps
    assert interruption.came()


def test_a_signal_that_is_ignored_stays_so() -> None:
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize(("form", "read"), [("text", logfmt.parsed), ("JSON", json.loads)])
def test_the_last_words_of_a_service_are_a_line_of_its_log(
    form: str, read: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setenv("LOG_FORMAT", form)
    interruption.install(is_service=True)
    os.kill(os.getpid(), signal.SIGINT)
    [line] = capfd.readouterr().err.splitlines()
    found = read(line)
    assert datetime.fromisoformat(found["time"]).tzinfo == UTC
    del found["time"]
    assert found == {"level": "info", "logger": "fastproc", "message": "exit 130 (SIGINT)"}
    assert codes == [130]
