"""Outages of one neighbour in the log, and warnings that many jobs have at once."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from fastproc.core.fields import fields
from fastproc.supervisor import seldom
from fastproc.supervisor.outage_log import OutageLog
from fastproc.supervisor.seldom import Seldom


def test_photos_that_cannot_be_read_and_results_that_cannot_be_written_are_one_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = OutageLog("storage", "http://s3")
    log.back("the object store")  # It was never away.
    for _ in range(3):
        log.away("the object store", "is away", "refused")
        log.away("the object store (uploads)", "is away", "503")
    log.went_back, log.waited = 4, 2
    log.back("the object store")
    assert len(caplog.records) == 1
    log.back("the object store (uploads)")
    begin, end = caplog.records
    assert begin.getMessage() == "the object store is away, no jobs are taken until it is back: refused"
    assert end.getMessage().startswith("the object store is back after 0.0 s; 4 jobs went back")
    assert (begin.fields["neighbour"], begin.fields["endpoint"], begin.fields["why"]) == (
        "storage",
        "http://s3",
        "refused",
    )
    assert (end.fields["outage"], end.fields["wentBack"], end.fields["waited"]) == ("end", 4, 2)
    assert end.fields["since"] == begin.fields["since"]


def test_a_neighbour_that_comes_and_goes_all_the_time_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = OutageLog("kernel")
    for _ in range(100):
        log.away("the kernel", "refuses what a job needs", "descriptors")
        log.back("the kernel")
    assert len(caplog.records) == 2


def test_a_warning_of_many_jobs_is_one_line_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    now = 100.0
    monkeypatch.setattr(seldom, "time", SimpleNamespace(monotonic=lambda: now))
    warn = Seldom(logging.getLogger("fastproc.x")).warn
    for number in range(32):
        warn("cannot be finished: %s", "away", extra=fields(jobId=str(number)))
    warn("something else")
    warn("no words: %s", TimeoutError())
    now += seldom.LOG_EVERY_S
    warn("cannot be finished: %s", "away", extra=fields(jobId="last"))
    said = [(each.getMessage(), each.fields) for each in caplog.records if each.levelno == logging.WARNING]
    assert [words for words, _ in said] == [
        "cannot be finished: away",
        "something else",
        "no words: TimeoutError",
        "cannot be finished: away",
    ]
    assert said[0][1] == {"jobId": "0", "unsaid": None}
    assert said[3][1] == {"jobId": "last", "unsaid": 31}
