"""What an operator may order while the service runs, as values: from the shell and from the page alike.

Rule 1: an act says what shall be, not how: `Cancel` of a job that waits and of one that runs is the same act.
Rule 2: acts on the queue are BullMQ's own moves, for all hosts; acts with a `host` reach the services that run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

#: Settings that can be changed while the service runs.
Live = Literal["concurrency", "rate", "log-level"]


class RetryJobs(Struct, frozen=True, kw_only=True, tag="retry"):
    """Let failed jobs run again: these `ids`, or all of a `code`, or all (`everything`); `limit` of them at most."""

    ids: tuple[str, ...] = ()
    code: str = ""
    everything: bool = False
    limit: int = 0


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """End a job as cancelled, whether it waits or runs. `why` is in the reason that the application gets."""

    job: str
    why: str = ""


class Pause(Struct, frozen=True, kw_only=True, tag="pause"):
    """Take no more jobs; those in hand go on. The whole queue, or one `host` alone."""

    host: str = ""


class Resume(Struct, frozen=True, kw_only=True, tag="resume"):
    """Take jobs again: the whole queue, or one `host`."""

    host: str = ""


class Drain(Struct, frozen=True, kw_only=True, tag="drain"):
    """Remove the jobs that wait, as BullMQ's `drain`; with `delayed` those too."""

    delayed: bool = False


class Set(Struct, frozen=True, kw_only=True, tag="set"):
    """Change a setting until the service ends: on one `host`, or on all."""

    name: Live
    value: str
    host: str = ""


class Replay(Struct, frozen=True, kw_only=True, tag="replay"):
    """Run a photo of the quarantine again, in a worker of its own, and say how it ended."""

    id: str


Act = RetryJobs | Cancel | Pause | Resume | Drain | Set | Replay


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of an act: in how many jobs or hosts, and in words; `hosts`: what each answered. `ok`: all of it."""

    ok: bool
    count: int = 0
    text: str
    hosts: Mapping[str, str] = {}
