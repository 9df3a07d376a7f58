"""The fleet's table: in any order of facts no task is lost or doubled, and every rule about deaths holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastproc.core.fleet import Fleet, Rules
from fastproc.core.orders import (
    BOOT_TIMEOUT,
    DEADLINE,
    WOULD_NOT_STOP,
    Halt,
    Kill,
    Lost,
    Order,
    Spawn,
    Stop,
)
from fastproc.core.slot import State

RULES = Rules(boot_s=5.0, stop_s=3.0, boot_failures=4, boot_backoff_s=0.1, boot_backoff_max_s=2.0)


class World:
    """Processes as the fleet's orders make them; checks that no order contradicts their state."""

    def __init__(self, size: int, rules: Rules = RULES) -> None:
        self.fleet = Fleet(size, rules)
        self.now = 1000.0
        self.up: dict[int, str] = {}  # slot -> "running", "stopping" or "killed"
        self.held: dict[int, int] = {}  # slot -> task
        self.given, self.done, self.lost = 0, 0, 0
        self.halts: list[Halt] = []
        self.spawns = 0
        self.ordered: list[Order] = []

    def obey(self, orders: list[Order]) -> None:
        for order in orders:
            self.ordered.append(order)
            match order:
                case Spawn(slot):
                    assert slot not in self.up, "two processes in one slot"
                    self.up[slot] = "running"
                    self.spawns += 1
                case Stop(slot):
                    assert slot not in self.held, "a worker with a task is ordered to stop"
                    # Closing the channel of a worker that is being killed does no harm.
                    assert self.up[slot] != "stopping", "stopped twice"
                    self.up[slot] = {"running": "stopping", "killed": "killed"}[self.up[slot]]
                case Kill(slot):
                    assert self.up[slot] != "killed", "killed twice"
                    self.up[slot] = "killed"
                case Lost(slot, task):
                    assert self.held.pop(slot) == task
                    self.lost += 1
                case Halt():
                    self.halts.append(order)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.obey(self.fleet.tick(self.now))
        due = self.fleet.due()
        assert due is None or due > self.now, "a caller that sleeps until `due` would loop without a pause"

    def state(self, slot: int) -> State:
        return self.fleet.slots[slot].state

    def ready(self, slot: int) -> None:
        if self.state(slot) is State.STARTING and self.up.get(slot) == "running":
            self.obey(self.fleet.ready(slot, self.now))

    def assign(self, slot: int) -> None:
        if slot in self.fleet.idle():
            self.given += 1
            assert slot not in self.held
            assert self.up[slot] == "running", "a task for a worker that was ordered to die"
            self.held[slot] = self.given
            self.fleet.assign(slot, self.given, self.now + 2.0, self.now)

    def finish(self, slot: int) -> None:
        # A worker that is being killed may still have answered in time.
        if slot in self.held:
            del self.held[slot]
            self.done += 1
            self.obey(self.fleet.finished(slot, self.now))

    def exit(self, slot: int, how: str = "SIGSEGV") -> None:
        if slot in self.up:
            del self.up[slot]
            self.obey(self.fleet.exited(slot, how, self.now))

    def condemn(self, slot: int) -> None:
        self.obey(self.fleet.condemn(slot, "it broke the protocol"))

    def limit(self, slot: int) -> None:
        self.obey(self.fleet.limit(slot + 1, self.now))

    def resize(self, slot: int) -> None:
        self.obey(self.fleet.resize(slot + 1, self.now))

    def drain(self, _slot: int) -> None:
        self.obey(self.fleet.drain(self.now))


SIZE = 3
EVENTS = ["ready", "ready", "assign", "assign", "finish", "exit", "condemn", "limit", "resize"]
STEP = st.tuples(
    st.sampled_from(EVENTS), st.integers(0, SIZE - 1), st.sampled_from([0.0, 0.01, 0.5, 2.5, 6.0])
)


@settings(max_examples=300)
@given(st.lists(STEP, max_size=120), st.one_of(st.none(), st.integers(0, 119)))
def test_no_schedule_loses_or_doubles_a_task(
    steps: list[tuple[str, int, float]], drain_at: int | None
) -> None:
    world = World(SIZE)
    for number, (event, slot, seconds) in enumerate(steps):
        world.tick(seconds)
        getattr(world, event)(slot)
        if number == drain_at:
            world.drain(0)
        assert world.given == world.done + world.lost + len(world.held)
        assert set(world.held) == {i for i in range(SIZE) if world.state(i) is State.BUSY}
        assert set(world.up) == {i for i in range(SIZE) if world.state(i) is not State.GONE}


@settings(max_examples=200)
@given(st.lists(STEP, max_size=80))
def test_a_drained_fleet_ends_with_no_process_and_every_task_answered_or_lost(
    steps: list[tuple[str, int, float]],
) -> None:
    world = World(SIZE)
    for event, slot, seconds in steps:
        world.tick(seconds)
        getattr(world, event)(slot)
    world.drain(0)
    before = world.spawns
    for _ in range(20):
        # No worker ends by itself: what is not killed hangs. Time alone must bring the end.
        for slot in [slot for slot, how in world.up.items() if how == "killed"]:
            world.exit(slot, "SIGKILL")
        world.tick(1.0)
        assert world.fleet.idle() == []
    assert world.up == {}
    assert world.held == {}
    assert world.given == world.done + world.lost
    assert world.spawns == before
    assert world.fleet.due() is None


@given(st.lists(st.sampled_from(["SIGSEGV", "SIGKILL", "exit code 1"]), min_size=50, max_size=200))
def test_a_poison_task_never_halts_the_fleet(deaths: list[str]) -> None:
    world = World(1)
    for how in deaths:
        world.tick(0.1)
        world.ready(0)
        world.assign(0)
        world.exit(0, how)
    assert world.lost == len(deaths)
    assert world.halts == []


def test_a_worker_that_died_with_its_task_is_replaced_at_once() -> None:
    world = World(1)
    world.tick(0)
    world.ready(0)
    world.assign(0)
    world.exit(0)
    world.tick(0)
    assert world.spawns == 2


def run_until_halt(world: World, live: float) -> Iterator[float]:
    """Let every worker die `live` seconds after it was ready; yield the times of the spawns."""
    seen = 0
    for _ in range(10_000):
        world.tick(0.01)
        if world.spawns > seen:
            seen = world.spawns
            yield world.now
            world.ready(0)
            world.now += live
            world.exit(0)
        if world.halts:
            return


def test_a_worker_that_dies_right_after_ready_is_a_failed_boot_with_backoff_and_then_the_halt() -> None:
    world = World(1)
    spawned_at = list(run_until_halt(world, live=0.001))
    assert len(spawned_at) == RULES.boot_failures
    pauses = [b - a for a, b in itertools.pairwise(spawned_at)]
    assert pauses == pytest.approx([0.2, 0.4, 0.8], abs=0.03)
    assert "SIGSEGV" in world.halts[0].why


def test_the_backoff_of_failed_boots_has_an_upper_bound() -> None:
    world = World(1, Rules(boot_failures=12, boot_backoff_s=0.1, boot_backoff_max_s=2.0))
    spawned_at = list(run_until_halt(world, live=0.001))
    assert len(spawned_at) == 12
    assert max(b - a for a, b in itertools.pairwise(spawned_at)) < 2.05


def test_the_death_of_an_idle_worker_that_lived_long_is_no_failed_boot() -> None:
    world = World(1)
    for _ in range(20):
        world.tick(0)
        world.ready(0)
        world.now += RULES.boot_s + 0.01
        world.exit(0)
    assert world.halts == []
    assert world.fleet.slots[0].failed_boots == 0


def test_a_task_that_was_assigned_clears_the_count_of_failed_boots() -> None:
    world = World(1)
    for _ in range(RULES.boot_failures - 1):
        world.tick(RULES.boot_backoff_max_s)
        world.exit(0)
    world.tick(RULES.boot_backoff_max_s)
    world.ready(0)
    world.assign(0)
    world.finish(0)
    world.exit(0)
    assert world.halts == []
    assert world.fleet.slots[0].failed_boots == 1


def test_one_slot_that_cannot_start_does_not_halt_the_others() -> None:
    world = World(2)
    world.tick(0)
    world.ready(1)
    for _ in range(2000):  # Far more than where the pauses' exponent would overflow.
        world.tick(RULES.boot_backoff_max_s)
        if 0 in world.up:
            world.exit(0)
    assert world.halts == []
    assert world.fleet.slots[0].failed_boots > 1030
    world.exit(1)
    world.tick(RULES.boot_backoff_max_s)
    world.exit(0)
    assert len(world.halts) == 1, "now nobody is healthy"


def test_a_boot_that_hangs_is_killed_and_counted() -> None:
    world = World(1)
    kills = 0
    while not world.halts:
        world.tick(0.5)
        for order in world.ordered:
            if isinstance(order, Kill):
                kills += 1
                assert order.why == BOOT_TIMEOUT
                world.exit(0, "SIGKILL (in own)")
        world.ordered = []
        assert world.now < 1100
    assert kills == world.spawns == RULES.boot_failures
    # With where it was: the fleet's own word alone would not name the stage.
    assert f"{BOOT_TIMEOUT}: SIGKILL (in own)" in world.halts[0].why


def test_a_boot_is_not_killed_before_its_time() -> None:
    world = World(1)
    world.tick(0)
    world.tick(RULES.boot_s - 0.01)
    assert [type(order) for order in world.ordered] == [Spawn]


def test_a_task_past_its_deadline_is_lost_with_the_deadline_as_reason() -> None:
    world = World(1)
    world.tick(0)
    world.ready(0)
    world.assign(0)
    assert world.fleet.due() == world.now + 2.0
    world.tick(1.99)
    assert world.up == {0: "running"}
    world.tick(0.02)
    world.tick(5.0)
    assert world.up == {0: "killed"}
    world.exit(0, "SIGKILL")
    assert [order for order in world.ordered if isinstance(order, Lost)] == [Lost(0, 1, DEADLINE)]


def test_a_task_may_be_allowed_more_time_and_it_counts_from_its_assignment() -> None:
    world = World(1)
    world.tick(0)
    world.ready(0)
    world.assign(0)
    assigned = world.now
    world.tick(1.0)
    world.fleet.allow(0, 30.0)
    assert world.fleet.due() == assigned + 30.0
    world.tick(28.9)
    assert world.up == {0: "running"}
    world.tick(0.2)
    assert world.up == {0: "killed"}


def test_a_spent_worker_is_replaced_and_nobody_is_charged() -> None:
    fleet = Fleet(1, RULES)
    fleet.tick(0.0)
    fleet.ready(0, 0.1)
    fleet.assign(0, 1, 9.0, 0.2)
    assert fleet.finished(0, 0.3, spent=True) == [Stop(0)]
    assert fleet.pick([0]) is None
    assert fleet.exited(0, "exit code 0", 0.4) == []
    assert fleet.slots[0].failed_boots == 0
    assert fleet.tick(0.4) == [Spawn(0)]


def test_a_worker_that_is_condemned_gets_no_further_task_but_may_finish_the_one_it_has() -> None:
    world = World(1)
    world.tick(0)
    world.ready(0)
    world.assign(0)
    world.condemn(0)
    world.finish(0)
    assert world.fleet.idle() == []
    assert world.fleet.pick([0]) is None
    world.exit(0, "SIGKILL")
    assert world.lost == 0


def test_condemning_twice_or_an_empty_slot_orders_nothing() -> None:
    fleet = Fleet(1, RULES)
    assert fleet.condemn(0, "x") == []
    fleet.tick(0.0)
    assert fleet.condemn(0, "x") == [Kill(0, "x")]
    assert fleet.condemn(0, "y") == []


def test_draining_stops_the_idle_kills_the_starting_and_lets_the_busy_finish() -> None:
    world = World(3)
    world.tick(0)
    world.ready(0)
    world.ready(1)
    world.assign(1)
    world.ordered = []
    world.drain(0)
    assert [type(order) for order in world.ordered] == [Stop, Kill]
    assert world.up == {0: "stopping", 1: "running", 2: "killed"}
    world.finish(1)
    assert world.up[1] == "stopping"


def test_a_worker_that_does_not_stop_is_killed() -> None:
    world = World(1)
    world.tick(0)
    world.ready(0)
    world.drain(0)
    world.tick(RULES.stop_s + 0.01)
    assert world.ordered[-1] == Kill(0, WOULD_NOT_STOP)


def test_an_impossible_fact_raises_an_assertion_that_names_it() -> None:
    fleet = Fleet(1, RULES)
    with pytest.raises(AssertionError, match="ready while gone"):
        fleet.ready(0, 0.0)
    fleet.tick(0.0)
    with pytest.raises(AssertionError, match="assigned while starting"):
        fleet.assign(0, 1, 9.0, 0.0)


# --- who gets what

STATES = st.lists(st.sampled_from(["idle", "busy", "starting"]), min_size=1, max_size=6)


def fleet_in(states: list[str]) -> Fleet:
    world = World(len(states))
    world.tick(0)
    for slot, state in enumerate(states):
        if state != "starting":
            world.now += 0.001
            world.ready(slot)
        if state == "busy":
            world.assign(slot)
    return world.fleet


@given(STATES, st.lists(st.integers(0, 5), max_size=8))
def test_no_worker_waits_while_there_is_work_and_a_task_goes_home_where_it_can(
    states: list[str], homes: list[int]
) -> None:
    homes = [home % len(states) for home in homes]
    idle = {slot for slot, state in enumerate(states) if state == "idle"}
    choice = fleet_in(states).pick(homes)
    assert (choice is None) == (not idle or not homes)
    if choice is not None:
        index, slot = choice
        assert slot in idle
        at_home = [number for number, home in enumerate(homes) if home in idle]
        assert (index, slot) == ((at_home[0], homes[at_home[0]]) if at_home else (0, slot))


def test_a_task_that_moves_goes_to_the_worker_that_is_idle_longest() -> None:
    world = World(3)
    world.tick(0)
    for slot in (0, 1, 2):
        world.now += 1
        world.ready(slot)
    world.assign(0)
    world.now += 1
    world.assign(1)
    world.now += 1
    world.finish(0)
    world.finish(1)
    world.assign(2)
    world.now += 1
    world.assign(0)
    world.finish(0)
    assert world.fleet.pick([2]) == (0, 1)


@given(st.integers(1, 8), st.integers(0, 40))
def test_homes_are_spread_evenly(size: int, tasks: int) -> None:
    fleet, lent = fleet_in(["idle"] * size), [0] * size
    for _ in range(tasks):
        lent[fleet.home(lent)] += 1
    assert max(lent) - min(lent) <= 1


def test_a_new_task_gets_a_slot_with_a_live_worker_rather_than_a_starting_one() -> None:
    assert fleet_in(["starting", "busy", "idle"]).home([0, 0, 0]) == 1
    assert fleet_in(["starting", "busy", "idle"]).home([0, 1, 1]) == 0


def test_of_slots_with_as_many_photos_a_new_one_goes_where_a_worker_is_free_first() -> None:
    world = World(3)
    world.tick(0)
    for slot in (2, 0, 1):
        world.now += 1
        world.ready(slot)
        world.assign(slot)
    assert world.fleet.home([1, 1, 1]) == 2
    assert world.fleet.home([1, 1, 2]) == 0


def test_a_slot_whose_process_is_refused_is_spawned_again_with_growing_pauses_and_never_halts() -> None:
    fleet, now, pauses = Fleet(1, RULES), 0.0, []
    for _ in range(10 * RULES.boot_failures):
        assert fleet.tick(now) == [Spawn(0)]
        fleet.not_spawned(0, "no descriptors", now)
        assert fleet.refusal == "no descriptors"
        due = fleet.due()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == sorted(pauses)
    assert (round(pauses[0], 3), round(pauses[-1], 3)) == (0.2, RULES.boot_backoff_max_s)
    assert fleet.tick(now) == [Spawn(0)]
    assert fleet.ready(0, now) == []
    assert fleet.refusal == ""


def test_a_boot_that_the_kernel_killed_for_lack_of_memory_is_charged_to_nobody() -> None:
    fleet, now = Fleet(1, RULES), 0.0
    for _ in range(3 * RULES.boot_failures):
        assert fleet.tick(now) == [Spawn(0)]
        assert fleet.exited(0, "SIGKILL", now, by_kernel=True) == []
        now = fleet.due() or now
    assert fleet.slots[0].failed_boots == 0


def test_a_task_that_did_not_reach_its_worker_is_not_lost_with_it() -> None:
    fleet = Fleet(1, RULES)
    fleet.tick(0.0)
    fleet.ready(0, 0.0)
    fleet.assign(0, 7, 30.0, 0.0)
    assert fleet.not_sent(0, "it takes no task") == [Kill(0, "it takes no task")]
    assert fleet.exited(0, "SIGKILL", 1.0) == []
    assert fleet.tick(1.0) == [Spawn(0)]


def test_where_no_photo_can_be_carried_only_tasks_at_home_are_picked() -> None:
    fleet = Fleet(2, RULES)
    fleet.tick(0.0)
    fleet.ready(1, 0.0)
    assert fleet.pick([0, 0], may_carry=False) is None
    assert fleet.pick([0, 1], may_carry=False) == (1, 1)
    assert fleet.pick([0, 0]) == (0, 1)


def test_an_order_that_nobody_fetched_is_overdue() -> None:
    fleet = Fleet(1, RULES)
    assert not fleet.is_overdue(1.0)
    assert fleet.is_overdue(3.0)
    fleet.tick(3.0)
    assert not fleet.is_overdue(4.0)


def test_a_limit_retires_idle_workers_at_once_and_busy_ones_when_they_are_done() -> None:
    world = World(4)
    world.tick(0.0)
    for slot in range(4):
        world.ready(slot)
    world.assign(0)
    world.assign(1)
    world.obey(world.fleet.limit(1, world.now))
    assert world.ordered[-2:] == [Stop(2), Stop(3)]
    assert world.fleet.processes == 4, "those that stop still hold their memory"
    world.exit(2, "exit code 0")
    world.exit(3, "exit code 0")
    world.finish(0)
    assert world.state(0) is State.RETIRING
    world.exit(0, "exit code 0")
    world.finish(1)
    assert world.state(1) is State.IDLE
    world.tick(100.0)
    assert list(world.up) == [1], "what is in excess is not spawned"


def test_a_limit_that_grows_spawns_and_one_that_came_during_the_start_retires_what_is_ready() -> None:
    world = World(3)
    world.obey(world.fleet.limit(2, world.now))
    world.tick(0.0)
    assert world.ordered == [Spawn(0), Spawn(1)]
    world.obey(world.fleet.limit(1, world.now))
    world.ready(0)
    assert world.state(0) is State.RETIRING
    world.exit(0, "exit code 0")
    world.ready(1)
    assert world.state(1) is State.IDLE
    world.obey(world.fleet.limit(3, world.now))
    due = world.fleet.due()
    assert due is not None
    assert due <= world.now
    world.tick(0.0)
    assert sorted(world.up) == [0, 1, 2]


@settings(max_examples=200)
@given(st.lists(STEP, max_size=60), st.integers(1, SIZE + 2))
def test_after_any_schedule_there_are_as_many_workers_as_were_ordered_last(
    steps: list[tuple[str, int, float]], size: int
) -> None:
    world = World(SIZE, Rules(boot_failures=1000))
    for event, slot, seconds in steps:
        world.tick(seconds)
        getattr(world, event)(slot)
    world.resize(size - 1)
    for _ in range(40):
        world.tick(1.0)
        for slot in list(world.up):
            if world.up[slot] in ("killed", "stopping"):
                world.exit(slot, "exit code 0")
            world.ready(slot)
            world.finish(slot)
    assert sorted(world.up.values()) == ["running"] * size
    assert len(world.fleet.idle()) == size
    assert world.given == world.done + world.lost


def test_those_with_least_to_do_are_closed_and_a_busy_one_ends_after_its_task() -> None:
    world = World(4)
    world.tick(0)
    for slot in range(4):
        world.ready(slot)
    for slot in (1, 2, 3):
        world.assign(slot)
    world.resize(0)
    assert world.up == {0: "stopping", 1: "running", 2: "running", 3: "running"}
    # Nobody is interrupted: each of those that are too many ends when its task has.
    for slot in (3, 2):
        world.finish(slot)
        assert world.up[slot] == "stopping"
        world.exit(slot, "exit code 0")
    world.exit(0, "exit code 0")
    world.finish(1)
    world.tick(10)
    assert world.up == {1: "running"}
    assert (world.fleet.closing, world.lost, world.spawns) == (0, 0, 4)
    assert world.fleet.home([0, 5, 0, 0]) == 1


def test_a_closed_slot_that_is_wanted_again_keeps_its_worker_or_gets_a_new_one() -> None:
    world = World(2)
    world.tick(0)
    for slot in range(2):
        world.ready(slot)
        world.assign(slot)
    world.resize(0)
    assert world.fleet.closing == 1
    world.resize(2)
    world.finish(0)
    world.finish(1)
    world.tick(1)
    assert world.up == {0: "running", 1: "running", 2: "running"}
    assert world.spawns == 3


def test_of_closed_slots_that_with_a_worker_is_opened_again_first() -> None:
    world = World(3)
    world.tick(0)
    for slot in range(3):
        world.ready(slot)
    world.assign(1)
    world.assign(2)
    world.resize(0)
    world.exit(0, "exit code 0")
    assert world.up == {1: "running", 2: "running"}
    # Another death must not bring a process into a slot that is closed.
    world.exit(1)
    world.tick(0.1)
    assert world.up == {1: "running", 2: "running"}
    world.resize(1)
    world.tick(0.1)
    assert (world.up, world.spawns) == ({1: "running", 2: "running"}, 4)


def test_a_worker_that_starts_in_a_closed_slot_ends_when_it_is_ready_and_halts_nothing() -> None:
    world = World(2)
    world.tick(0)
    world.ready(0)
    world.resize(0)
    world.ready(1)
    assert world.up == {0: "running", 1: "stopping"}
    world.exit(1, "exit code 0")
    world.resize(1)
    world.tick(1)
    world.resize(0)
    world.exit(1, "exit code 1")
    world.tick(60)
    assert world.up == {0: "running"}
    assert world.fleet.slots[1].failed_boots == 0


def test_a_task_whose_home_is_closed_is_the_next_that_starts_elsewhere() -> None:
    world = World(2)
    world.tick(0)
    world.ready(0)
    world.ready(1)
    world.assign(1)
    world.resize(0)
    assert world.fleet.slots[0].closed
    world.finish(1)
    # Without that, tasks at home would pass it by for as long as they come.
    assert world.fleet.pick([0, 1]) == (0, 1)
    assert world.fleet.pick([1, 0]) == (0, 1)
    assert world.fleet.pick([0, 1], may_carry=False) == (1, 1)
