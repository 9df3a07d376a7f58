"""Choices among the fleet's slots: which task starts next and where, where a new one is at home, which slots go. Pure.

Rule 1: a task goes to its home slot when that is idle; else, where a photo may be carried, the oldest task moves to the
        slot that is idle longest, so that no worker waits while there is work; at once where its home is closed.
Rule 2: where there shall be fewer slots, those go first that have least to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastproc.core.slot import Slot, State

_LEAST = (State.GONE, State.RETIRING, State.STARTING, State.IDLE, State.BUSY)


def pick(
    slots: Sequence[Slot], idle: Sequence[int], homes: Sequence[int], *, may_carry: bool
) -> tuple[int, int] | None:
    """Return (index of the waiting task, slot) to start next, or None. `homes`: their home slots, oldest first."""
    if not idle or not homes:
        return None
    for index, home in enumerate(homes):
        if home in idle:
            return index, home
        if may_carry and slots[home].closed:
            return index, idle[0]
    return (0, idle[0]) if may_carry else None


def home(slots: Sequence[Slot], lent: Sequence[int]) -> int:
    """Return the home slot of a new task; `lent` counts the tasks that each slot has now.

    Of equals the one that is free first: a photo whose slot is busy for longer is carried to another.
    """
    there = [i for i, slot in enumerate(slots) if not slot.closed]
    return min(there, key=lambda i: (lent[i], *slots[i].turn, i))


def to_open(slots: Sequence[Slot], count: int) -> list[int]:
    """Return which closed slots are to be opened again, at most so many: those that still have a process first."""
    closed = [i for i, slot in enumerate(slots) if slot.closed]
    return sorted(closed, key=lambda i: slots[i].state is State.GONE)[: max(0, count)]


def to_close(slots: Sequence[Slot], count: int) -> list[int]:
    """Return which so many open slots are to be closed."""
    there = [i for i, slot in enumerate(slots) if not slot.closed]
    return sorted(there, key=lambda i: (_LEAST.index(slots[i].state), -i))[: max(0, count)]
