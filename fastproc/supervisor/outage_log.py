"""Tells the log of the outages of one neighbour: by one line at the beginning and one at the end (`core.outages`).

Rule 1: what is done with a neighbour can fail in several ways at once (photos cannot be read, results not written).
        They are parts of one outage, which lasts as long as one of them.
Rule 2: where there are several supervisors, their master tells (`master.outages`): all of them see the same outage.
"""

from __future__ import annotations

import logging
import time

from fastproc.core import outages
from fastproc.core.fields import At, fields

log = logging.getLogger("fastproc.supervisor.neighbours")


class OutageLog:
    """One neighbour: `name` is that of /ready, `endpoint` where it is."""

    def __init__(self, name: str, endpoint: str = "") -> None:
        self._name, self._endpoint = name, endpoint
        self._outage = outages.Outage()
        self._since = At(0.0)
        self._words = ""
        self._away: set[str] = set()
        #: Jobs that went back to the queue meanwhile, and those that waited with finished work.
        self.went_back = self.waited = 0

    def away(self, part: str, gone: str, why: str) -> None:
        """A part fails, or still does. `part` and `gone` are the words for it, `why` the reason."""
        now = time.monotonic()
        if not self._away:
            self.went_back = self.waited = 0
            self._since, self._words = At(time.time()), part
            is_due = self._outage.began(now)
        else:
            is_due = self._outage.lasts(now)
        self._away.add(part)
        if is_due:
            about = outages.begin(self._name, self._endpoint, why, since=self._since)
            words = "%s %s, no jobs are taken until it is back: %s"
            log.warning(words, self._words, gone, why, extra=fields(**about))

    def back(self, part: str) -> None:
        """A part works again."""
        self._away.discard(part)
        if self._away or not (over := self._outage.ended(time.monotonic())):
            return
        more = {"since": self._since, "wentBack": self.went_back, "waited": self.waited}
        about = outages.end(self._name, self._endpoint, over, **more)
        words = "%s is back after %.1f s; %d jobs went back meanwhile"
        log.warning(words, self._words, over.seconds, self.went_back, extra=fields(**about))
