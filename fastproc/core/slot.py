"""One worker's place in the fleet: its life cycle as a table, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct


class State(Enum):
    """Where a slot's worker is in its life cycle."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RETIRING = "retiring"
    GONE = "gone"


#: state -> {event: next state}; anything else is a bug in the caller.
TRANSITIONS: dict[State, dict[str, State]] = {
    State.GONE: {"spawned": State.STARTING},
    State.STARTING: {"ready": State.IDLE, "not spawned": State.GONE, "exited": State.GONE},
    State.IDLE: {"assigned": State.BUSY, "retired": State.RETIRING, "exited": State.GONE},
    State.BUSY: {"finished": State.IDLE, "exited": State.GONE},
    State.RETIRING: {"exited": State.GONE},
}


class Slot(Struct):
    """One worker's place: its state, its task (0 = none), and why it was ordered to die (`doomed`, "" if not).

    `closed`: it gets no task and no process any more, because there shall be fewer workers.
    `refused` counts spawns in a row that the kernel refused, `refusal` is its last reason.
    """

    state: State = State.GONE
    since: float = 0.0
    born: float = 0.0
    task: int = 0
    deadline: float = 0.0
    doomed: str = ""
    failed_boots: int = 0
    refused: int = 0
    refusal: str = ""
    spawn_at: float = 0.0
    closed: bool = False

    @property
    def turn(self) -> tuple[int, float]:
        """What orders slots that have as many photos: the one whose task began first, then idle ones."""
        if self.state is State.BUSY:
            return 0, self.since
        return (1, 0.0) if self.state is State.IDLE else (2, 0.0)


def task_ages(slots: Sequence[Slot], now: float) -> list[float]:
    """Return for each slot the seconds that it has its task; 0 where it has none."""
    return [max(0.0, now - slot.since) if slot.state is State.BUSY else 0.0 for slot in slots]
