"""Outages that several supervisors see are told once, whoever sees them first or longest, and whoever ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fastproc.core.fields import At, fields
from fastproc.ipc import link
from fastproc.ipc.link import OutageTold
from fastproc.master import outages as module
from fastproc.master.outages import SharedOutages
from fastproc.supervisor.outage_link import ToMaster


def told(kind: str, neighbour: str = "storage", since: float = 5.0, **more: Any) -> OutageTold:
    words = "S3 is away: refused" if kind == "begin" else "S3 is back after 3.0 s; 7 jobs went back"
    about = {"outage": kind, "neighbour": neighbour, "endpoint": "http://s3", **more}
    return OutageTold("fastproc.supervisor.neighbours", words, about, since)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(each.fields["outage"], each.getMessage()) for each in caplog.records]


BEGIN, END = ("begin", "S3 is away: refused"), ("end", "S3 is back")


async def test_it_begins_with_the_first_and_ends_with_the_last(caplog: pytest.LogCaptureFixture) -> None:
    shared = SharedOutages()
    for number in (1, 2, 3):
        shared.heard(number, told("begin", since=4.0 + number))
    for number in (2, 1):
        shared.heard(number, told("end", wentBack=10, ms=1))
    assert lines(caplog) == [BEGIN]
    shared.heard(3, told("end", wentBack=1, waited=2, ms=1, untold=1))
    assert lines(caplog) == [BEGIN, END]
    [begin, end] = (each.fields for each in caplog.records)
    assert (begin["since"], end["since"]) == (At(5.0), At(5.0))
    assert (end["wentBack"], end["waited"], end["endpoint"]) == (21, 2, "http://s3")


async def test_neighbours_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    shared = SharedOutages()
    shared.heard(1, told("begin"))
    shared.heard(1, told("begin", "redis"))
    shared.heard(1, told("end"))
    assert [what for what, _ in lines(caplog)] == ["begin", "begin", "end"]


async def test_a_supervisor_that_ends_sees_nothing_any_more(caplog: pytest.LogCaptureFixture) -> None:
    shared = SharedOutages()
    shared.heard(1, told("begin"))
    shared.heard(2, told("begin"))
    shared.gone(1)
    shared.gone(1)
    assert lines(caplog) == [BEGIN]
    shared.gone(2)
    assert lines(caplog) == [BEGIN, ("end", "the supervisor has ended that said: S3 is away: refused")]


async def test_one_sees_it_after_another_saw_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastproc.core.outages.LASTS_S", 0.02)
    monkeypatch.setattr(module, "AGAIN_S", 0.03)
    shared = SharedOutages()
    shared.heard(1, told("begin"))
    shared.heard(1, told("end"))
    shared.heard(2, told("begin"))
    shared.heard(2, told("end"))
    await asyncio.sleep(0.05)
    assert lines(caplog) == [BEGIN, END]
    # But not where it lasts.
    shared.heard(2, told("begin"))
    await asyncio.sleep(0.05)
    shared.heard(2, told("end"))
    assert lines(caplog) == [BEGIN, END, BEGIN, END]
    assert caplog.records[-1].fields["untold"] == 1


async def test_a_supervisors_line_reaches_the_master_by_the_link(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = link.pair()
    master, theirs = await link.master_end(ours), await link.supervisor_end(theirs.detach())
    handler = logging.StreamHandler()
    handler.addFilter(ToMaster(theirs.send))
    plain = logging.makeLogRecord({"msg": "plain"} | fields(jobId="1"))
    about = {"outage": "begin", "neighbour": "redis", "endpoint": "h:1", "why": "cut", "since": At(7.5)}
    outage = logging.makeLogRecord({"name": "a.b", "msg": "away: %s", "args": ("cut",)} | fields(**about))
    assert handler.filter(plain)
    assert not handler.filter(outage)
    assert await master.receive() == OutageTold(
        "a.b", "away: cut", {name: value for name, value in about.items() if name != "since"}, 7.5
    )
    for end in (master, theirs):
        await end.close()
