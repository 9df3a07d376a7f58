"""What the fleet's table orders its pool to do, and the reasons that it gives: values alone."""

from __future__ import annotations

from msgspec import Struct


class Spawn(Struct, frozen=True):
    """Start a process for the slot."""

    slot: int


class Stop(Struct, frozen=True):
    """Close the slot's channel: the worker sees the end of it and exits."""

    slot: int


class Kill(Struct, frozen=True):
    """SIGKILL the slot's process. `why` is for the log and is repeated in Lost."""

    slot: int
    why: str


class Lost(Struct, frozen=True):
    """The worker died while it held this task."""

    slot: int
    task: int
    why: str


class Halt(Struct, frozen=True):
    """Workers do not survive their start: give up."""

    why: str


Order = Spawn | Stop | Kill | Lost | Halt

#: Why the fleet itself kills a worker.
DEADLINE = "deadline"
BOOT_TIMEOUT = "was not ready in time"
WOULD_NOT_STOP = "did not stop in time"
DRAINED = "no longer needed"
#: Why it is killed where nobody wants its answer any more: its job was cancelled, goes back at a stop, or is another
#: service's by now.
ABANDONED = "its job was abandoned"
