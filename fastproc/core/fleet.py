"""The worker pool as a table: facts come in, orders go out. No process, no signal, no clock.

Rule 1: every decision about workers is made here; `supervisor.workers.pool` only obeys.
Rule 2: each fact has one method; the caller passes the time. `tick(now)` gives the orders that depend on time alone,
        `due()` says when it is needed next.
Rule 3: a death while STARTING, or of an idle worker that was spawned at most `boot_s` ago, is charged to the
        deployment: back off, then halt, unless another slot has a healthy worker. A death while BUSY is charged to the
        task, never to the fleet: a poison photo must not stop the service.
Rule 4: a worker that was ordered to stop or die keeps its slot until its process has ended (`exited`).
Rule 5: `most` of the slots may have a process (`limit`): the rest are retired when idle, and spawned again later.
Rule 6: the number of slots may change (`resize`). Where there shall be fewer, those without a task go first, and one
        with a task ends after it. What was to run in a closed slot runs in another.
Rule 7: what the kernel refuses or kills for lack of memory is charged to nobody: back off and try again, never halt.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from fastproc.core import placing
from fastproc.core.orders import (
    BOOT_TIMEOUT,
    DEADLINE,
    DRAINED,
    WOULD_NOT_STOP,
    Halt,
    Kill,
    Lost,
    Order,
    Spawn,
    Stop,
)
from fastproc.core.slot import TRANSITIONS, Slot, State

#: Seconds after which an order that was due is overdue.
OVERDUE_S = 2.0


class Rules(Struct, frozen=True, kw_only=True):
    """The fleet's numbers: seconds to become ready, seconds to stop, failed boots in a row before the halt.

    The pauses between boots that failed, or were refused by the kernel, double up to `boot_backoff_max_s`.
    """

    boot_s: float = 30.0
    stop_s: float = 5.0
    boot_failures: int = 5
    boot_backoff_s: float = 0.1
    boot_backoff_max_s: float = 3.0


class Fleet:
    """`size` slots for processes that the caller starts and ends."""

    def __init__(self, size: int, rules: Rules) -> None:
        self.slots = [Slot() for _ in range(size)]
        self.rules = rules
        self.draining = False
        self.most = size

    # --- questions

    def idle(self) -> list[int]:
        """Slots that can take a task, the longest idle one first."""
        if self.draining:
            return []
        free = [i for i, s in enumerate(self.slots) if s.state is State.IDLE and not s.doomed]
        return sorted(free, key=lambda i: self.slots[i].since)

    def count(self, state: State) -> int:
        """How many slots are in this state."""
        return sum(s.state is state for s in self.slots)

    @property
    def processes(self) -> int:
        """How many slots have a process that was not ordered to die."""
        return sum(s.state is not State.GONE and not s.doomed and not s.closed for s in self.slots)

    @property
    def closing(self) -> int:
        """How many closed slots still have a process."""
        return sum(s.closed and s.state is not State.GONE for s in self.slots)

    def pick(self, homes: Sequence[int], *, may_carry: bool = True) -> tuple[int, int] | None:
        """As `placing.pick`."""
        return placing.pick(self.slots, self.idle(), homes, may_carry=may_carry)

    def home(self, lent: Sequence[int]) -> int:
        """As `placing.home`."""
        return placing.home(self.slots, lent)

    @property
    def refusal(self) -> str:
        """Why a slot has no process, where the kernel refuses one; "" where it refuses none."""
        return next((slot.refusal for slot in self.slots if slot.refused), "")

    def due(self) -> float | None:
        """Return when `tick` has something to do, or None if nothing depends on time."""
        return min([at for slot in self.slots if (at := self._due(slot)) is not None], default=None)

    def is_overdue(self, now: float) -> bool:
        """Whether `tick` has not come for what was due: the alarm was lost, or the loop stood still."""
        due = self.due()
        return due is not None and due + OVERDUE_S < now

    # --- facts

    def limit(self, most: int, now: float) -> list[Order]:
        """At most so many slots may have a process from now on."""
        self.most = most
        idle = self.idle() if self._is_excess else []
        return [order for i in idle if self._is_excess for order in self._retire(i, now)]

    def resize(self, size: int, now: float) -> list[Order]:
        """Have so many slots from now on; `tick` spawns those that are new."""
        self.most, open_now = size, sum(not slot.closed for slot in self.slots)
        for i in placing.to_open(self.slots, size - open_now):
            self.slots[i].closed, self.slots[i].failed_boots, self.slots[i].spawn_at = False, 0, now
        open_now = sum(not slot.closed for slot in self.slots)
        self.slots += [Slot(spawn_at=now) for _ in range(size - open_now)]
        orders: list[Order] = []
        for i in placing.to_close(self.slots, open_now - size):
            self.slots[i].closed = True
            orders += self._retire(i, now) if self.slots[i].state is State.IDLE else []
        return orders

    def ready(self, i: int, now: float) -> list[Order]:
        """The worker has warmed up."""
        slot = self._go(i, "ready", now)
        slot.refused, slot.refusal = 0, ""
        return self._retire(i, now) if self._is_needless(slot) else []

    def not_spawned(self, i: int, why: str, now: float) -> None:
        """The kernel refused the process that Spawn ordered."""
        self._go(i, "not spawned", now)
        self._refuse(self.slots[i], why, now)

    def assign(self, i: int, task: int, deadline: float, now: float) -> None:
        """The worker is given a task (any number but 0) that it must finish by `deadline`."""
        slot = self._go(i, "assigned", now)
        slot.task, slot.deadline, slot.failed_boots = task, deadline, 0

    def allow(self, i: int, seconds: float) -> None:
        """The task may take `seconds` from its assignment."""
        self.slots[i].deadline = self.slots[i].since + seconds

    def finished(self, i: int, now: float, *, spent: bool = False) -> list[Order]:
        """The worker has answered its task, with success or failure. A `spent` worker is replaced."""
        slot = self._go(i, "finished", now)
        slot.task = 0
        return self._retire(i, now) if spent or self._is_needless(slot) else []

    def not_sent(self, i: int, why: str) -> list[Order]:
        """The task that was assigned did not reach the worker, which must be replaced: nothing is lost with it."""
        self.slots[i].task = 0
        return self.condemn(i, why)

    def condemn(self, i: int, why: str) -> list[Order]:
        """The worker must die: it broke the protocol, or its task was cancelled."""
        slot = self.slots[i]
        if slot.state is State.GONE or slot.doomed:
            return []
        slot.doomed = why
        return [Kill(i, why)]

    def exited(self, i: int, how: str, now: float, *, by_kernel: bool = False) -> list[Order]:
        """The worker's process has ended; `how` is the reason unless the fleet had condemned it.

        `by_kernel`: the kernel killed it for lack of memory.
        """
        slot = self.slots[i]
        task, why, was, by_kernel = slot.task, slot.doomed or how, slot.state, by_kernel and not slot.doomed
        if slot.doomed and was is State.STARTING and how != slot.doomed:
            why = f"{slot.doomed}: {how}"  # What it was trying is in `how`.
        self._go(i, "exited", now)
        slot.task, slot.doomed, slot.spawn_at = 0, "", now
        if task:
            return [Lost(i, task, why)]
        if by_kernel:
            self._refuse(slot, why, now)
            return []
        young = was is State.STARTING or (was is State.IDLE and now - slot.born <= self.rules.boot_s)
        slot.failed_boots = slot.failed_boots + 1 if young and not (self.draining or slot.closed) else 0
        healthy = self.count(State.IDLE) + self.count(State.BUSY)
        if slot.failed_boots >= self.rules.boot_failures and not healthy:
            return [Halt(f"worker {i} did not survive its start {slot.failed_boots} times in a row: {why}")]
        if slot.failed_boots:
            pause = self.rules.boot_backoff_s * 2.0 ** min(slot.failed_boots, 32)
            slot.spawn_at = now + min(self.rules.boot_backoff_max_s, pause)
        return []

    def tick(self, now: float) -> list[Order]:
        """Return the orders that are due: kill overdue workers, then spawn missing ones."""
        orders: list[Order] = []
        for i, slot in enumerate(self.slots):
            if slot.state is not State.GONE and self._is_due(slot, now):
                why = {State.STARTING: BOOT_TIMEOUT, State.BUSY: DEADLINE}.get(slot.state, WOULD_NOT_STOP)
                orders += self.condemn(i, why)
        for i, slot in enumerate(self.slots):
            if slot.state is State.GONE and self._is_due(slot, now):
                self._go(i, "spawned", now)
                slot.born = now
                orders.append(Spawn(i))
        return orders

    def drain(self, now: float) -> list[Order]:
        """Take no more tasks: stop the idle, let the busy finish, kill what is still starting."""
        self.draining = True
        orders: list[Order] = []
        for i, slot in enumerate(self.slots):
            if slot.state is State.IDLE:
                orders += self._retire(i, now)
            elif slot.state is State.STARTING:
                orders += self.condemn(i, DRAINED)
        return orders

    def _is_needless(self, slot: Slot) -> bool:
        return self.draining or slot.closed or self._is_excess

    @property
    def _is_excess(self) -> bool:
        if self.most >= len(self.slots):
            return False
        going = sum(s.state is State.RETIRING and not s.closed for s in self.slots)
        return self.processes - going > self.most

    def _refuse(self, slot: Slot, why: str, now: float) -> None:
        slot.refused, slot.refusal = slot.refused + 1, why
        pause = self.rules.boot_backoff_s * 2.0 ** min(slot.refused, 30)
        slot.spawn_at = now + min(self.rules.boot_backoff_max_s, pause)

    def _retire(self, i: int, now: float) -> list[Order]:
        self._go(i, "retired", now)
        return [Stop(i)]

    def _is_due(self, slot: Slot, now: float) -> bool:
        at = self._due(slot)
        return at is not None and at <= now

    def _due(self, slot: Slot) -> float | None:
        if slot.doomed:
            return None
        match slot.state:
            case State.GONE:
                is_done = self.draining or slot.closed or self.processes >= self.most
                return None if is_done else slot.spawn_at
            case State.STARTING:
                return slot.since + self.rules.boot_s
            case State.BUSY:
                return slot.deadline
            case State.RETIRING:
                return slot.since + self.rules.stop_s
            case State.IDLE:
                return None

    def _go(self, i: int, event: str, now: float) -> Slot:
        slot = self.slots[i]
        following = TRANSITIONS[slot.state].get(event)
        if following is None:
            raise AssertionError(f"worker {i}: {event} while {slot.state.value}")
        slot.state, slot.since = following, now
        return slot
