"""Tells the outages that several supervisors see as what they are: one line at the beginning, one at the end.

Rule 1: an outage of a neighbour begins with the first supervisor that tells of it and ends with the last one that tells
        its end, or that has ended itself. What it has delayed is added up.
Rule 2: the words are the supervisors' own; the rules against a log that fills are those of `core.outages`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from fastproc.core import outages
from fastproc.core.fields import At, fields
from fastproc.ipc.link import OutageTold

#: What the supervisors have counted each for itself.
_COUNTS: Final = ("wentBack", "waited", "inHand", "dropped", "hurried")
#: When it is asked again whether an outage lasts: a little later than that is said, since timers may be early.
AGAIN_S: Final = outages.LASTS_S + 0.1


class _Shared:
    """One neighbour: who sees it away, and what that has delayed."""

    def __init__(self) -> None:
        self.outage = outages.Outage()
        self.seen_by: set[int] = set()
        self.first: OutageTold | None = None
        self.counts: dict[str, int] = {}


class SharedOutages:
    """Outages by neighbour, endpoint and sink."""

    def __init__(self) -> None:
        self._all: dict[tuple[Any, ...], _Shared] = {}

    def heard(self, number: int, told: OutageTold) -> None:
        """A supervisor tells of the beginning or the end of an outage."""
        key = tuple(told.fields.get(name) for name in ("neighbour", "endpoint", "sink"))
        shared = self._all.setdefault(key, _Shared())
        if told.fields.get("outage") == "begin":
            self._began(shared, number, told)
        else:
            for name in _COUNTS:
                if isinstance(count := told.fields.get(name), int):
                    shared.counts[name] = shared.counts.get(name, 0) + count
            self._ended(shared, number, told)

    def gone(self, number: int) -> None:
        """A supervisor has ended: what it sees is not known any more."""
        for shared in self._all.values():
            if number in shared.seen_by and shared.first:
                self._ended(shared, number, shared.first)

    def _began(self, shared: _Shared, number: int, told: OutageTold) -> None:
        is_new = not shared.seen_by
        shared.seen_by.add(number)
        if not is_new:
            return
        shared.first, shared.counts = told, {}
        if shared.outage.began(time.monotonic()):
            _tell(told)
        else:
            asyncio.get_running_loop().call_later(AGAIN_S, self._lasts, shared)

    def _lasts(self, shared: _Shared) -> None:
        if shared.first and shared.outage.lasts(time.monotonic()):
            _tell(shared.first)

    def _ended(self, shared: _Shared, number: int, told: OutageTold) -> None:
        if number not in shared.seen_by:
            return
        shared.seen_by.discard(number)
        if shared.seen_by or not (over := shared.outage.ended(time.monotonic())):
            return
        about = dict(told.fields) | shared.counts
        about |= {
            "outage": "end",
            "ms": round(over.seconds * 1000),
            "untold": over.untold or None,
            "why": None,
        }
        # One supervisor's figures are not those of all.
        words = told.words.partition(" after ")[0].rstrip(",")
        if told.fields.get("outage") == "begin":
            words = f"the supervisor has ended that said: {words}"
        _tell(OutageTold(told.logger, words, about, shared.first.since if shared.first else told.since))


def _tell(told: OutageTold) -> None:
    about = dict(told.fields) | {"since": At(told.since)}
    logging.getLogger(told.logger).warning("%s", told.words, extra=fields(**about))
