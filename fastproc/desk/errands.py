"""A supervisor's side of the page where a master serves it: does the errands that come over the link, by its desk."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Protocol

import msgspec

from fastproc.core.errors import FastprocError
from fastproc.core.snapshot import Snapshot
from fastproc.desk.port import Desk
from fastproc.ipc.errands import Count, Done, Errand, Find, Give, Link, ListJobs, Look, What

log = logging.getLogger(__name__)


class OwnDesk(Desk, Protocol):
    """The desk of one supervisor."""

    def own(self) -> Snapshot:
        """Return how this supervisor does, without asking anybody."""


async def run(desk: OwnDesk, errand: Errand) -> Done:
    """Return the answer of an errand. It raises nothing."""
    try:
        value = await _asked(desk, errand.what)
        return Done(errand.number, msgspec.msgpack.encode(value))
    except FastprocError as error:
        return Done(errand.number, problem=str(error) or type(error).__name__)
    except Exception as error:
        log.exception("an errand of the page broke")
        return Done(errand.number, problem=f"unexpected error: {type(error).__name__}")


async def _own(desk: OwnDesk) -> Snapshot:
    return desk.own()


def _asked(desk: OwnDesk, what: What) -> Awaitable[object]:
    match what:
        case Look(whole=whole):
            return desk.view() if whole else _own(desk)
        case Find(text=text):
            return desk.find(text)
        case ListJobs(state=state, code=code, limit=limit):
            return desk.jobs(state, code, limit)
        case Count(code=code):
            return desk.count(code)
        case Give(act=act, by=by):
            return desk.act(act, by)
        case Link(bucket=bucket, key=key):
            return desk.links(bucket, key)
