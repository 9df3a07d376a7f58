"""Three services on three hosts share queue, store and database: hosts die and are cut off, and nothing is lost.

The hosts are network namespaces; the three services serve all tests of this module, and one that was killed is started
again. Each test looks at everything that was added so far.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from fastproc.backends.metadata_postgresql import PostgresMetadataStore
from fastproc.core.errors import DatabaseUnavailable
from fastproc.embedded.child import ServerFailed
from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.hosts import DATABASE, STORE, Hosts, hosts
from fastproc.embedded.trial.invariants import Added
from fastproc.embedded.trial.network import Host, NetworkRefused
from fastproc.embedded.trial.process import eventually
from fastproc.supervisor.ports import Row
from tests.chaos.conftest import PHOTOS
from tests.chaos.outage import ENDED_S, some, stopped

LOCK_S = 1.0
SETTINGS = {"LOCK_DURATION_MS": "1000", "STALLED_INTERVAL_MS": "500"}
#: Longer than a lock and two sweeps, and so than it takes others to have the jobs of a host that is gone.
GONE_S = 2 * LOCK_S
#: `/ready` follows an outage within 5 s, and its end; a busy machine may add to that.
NOTICED_S = 12.0
EARLY, LATE = "2026-01-01T00:00:01.000Z", "2026-01-01T00:00:02.000Z"


class Trial:
    """The hosts, and all jobs that were added to them."""

    def __init__(self, ground: Hosts) -> None:
        self.ground = ground
        self.added: list[Added] = []

    def add(self, count: int, **options: Any) -> list[Added]:
        added = self.ground.add(some(count, f"p{len(self.added)}-"), **options)
        self.added += added
        return added

    def end(self, added: list[Added]) -> list[str]:
        """Wait for the jobs; return what is wrong in the world then, of these and all before."""
        self.ground.until_ended(added)
        world = self.ground.look(self.added)
        extra = sorted(set(world.rows) ^ {each.photo_id for each in self.added})
        return [*invariants.broken(world, self.added), *(f"no or one more row: {photo}" for photo in extra)]

    @contextmanager
    def busy(self, *which: Host, jobs: int) -> Iterator[list[Added]]:
        """Jobs that these hosts have in hand, with their photos, while their workers stand still. Each has 2 slots."""
        services = {host: self.ground.service(host) for host in self.ground.all}
        workers = [worker for host in which for worker in services[host].workers()]
        others = [services[host].pid for host in services if host not in which]
        with stopped(*workers):
            with stopped(*others):
                added = self.add(jobs)
                eventually(lambda: self.ground.locked_at(25) == len(added), self.ground.locked)
            yield added

    def work(self, *which: Host) -> list[str]:
        """Each of the hosts completes jobs again, and nothing is wrong in the world."""
        before = {host: self.ground.completed_by(host) for host in which}
        wrong = self.end(self.add(8 * len(self.ground.all)))
        idle = [host.address for host in which if self.ground.completed_by(host) == before[host]]
        return [*wrong, *(f"{address} takes no jobs" for address in idle)]

    def mend(self) -> None:
        """Undo what a test has done to the hosts, whether or not it has come to its end."""
        for host in self.ground.all:
            host.plug()
            for server in (DATABASE, STORE):
                host.find(server)
        self.start_missing()

    def start_missing(self) -> None:
        for host in self.ground.all:
            if not self.ground.runs(host):
                self.ground.start(host, SETTINGS)
        for host in self.ground.all:
            self.ground.service(host).wait_ready()

    def ready(self, host: Host) -> Mapping[str, Any]:
        status, body = self.ground.service(host).get("/ready")
        return {**(json.loads(body) if status else {}), "status": status}

    def taken(self, host: Host) -> str:
        """How many jobs a host's service has taken."""
        _, body = self.ground.service(host).get("/metrics")
        [line] = [line for line in body.splitlines() if line.startswith("fastproc_jobs_taken_total ")]
        return line

    def until_ready(self) -> None:
        states = lambda: [self.ready(host) for host in self.ground.all]  # noqa: E731
        eventually(lambda: all(state["status"] == 200 for state in states()), states, NOTICED_S)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Runs a function with the trial, in the thread of the network."""
    stack = ExitStack()

    def begin() -> Trial:
        ground = stack.enter_context(hosts(tmp_path_factory.mktemp("hosts"), 3))
        for name, body in PHOTOS.items():
            ground.put(name, body)
        trial = Trial(ground)
        trial.start_missing()
        # Opens the connections that its clients keep, before any test counts descriptors.
        assert trial.end(trial.add(3)) == []
        return trial

    with ThreadPoolExecutor(1, thread_name_prefix="network") as thread:
        try:
            trial = thread.submit(begin).result()
        except NetworkRefused as error:
            pytest.skip(f"needs root: {error}")
        except ServerFailed as error:
            pytest.skip(str(error))

        def go(case: Callable[..., Any], *arguments: object) -> Any:
            thread.submit(trial.until_ready).result()
            try:
                return thread.submit(case, trial, *arguments).result()
            finally:
                # Here and not before the next test, of whose processes it would be one more.
                thread.submit(trial.mend).result()

        yield go
        thread.submit(stack.close).result()


def test_hosts_share_the_jobs(run) -> None:
    def case(trial: Trial) -> None:
        wrong = trial.end(trial.add(60))
        assert wrong == []
        shares = [trial.ground.completed_by(host) for host in trial.ground.all]
        # Equal hosts have equal shares, but for chance and a busy machine.
        assert min(shares) >= 5, shares

    run(case)


def test_the_jobs_of_dead_hosts_are_done_by_the_last_one(run) -> None:
    def case(trial: Trial) -> None:
        killed, dark, last = trial.ground.all
        with trial.busy(killed, dark, jobs=4) as theirs:
            trial.ground.kill(killed)
            # Without power nobody closes the connections: the servers keep them, with what is open in them.
            dark.unplug()
            trial.ground.kill(dark)
        assert trial.end([*theirs, *trial.add(20)]) == []
        assert all(int(trial.ground.job(each.id)["stc"]) >= 1 for each in theirs)
        assert trial.ready(last)["status"] == 200

    run(case)


def test_a_host_that_was_cut_off_changes_nothing_when_it_is_back(run) -> None:
    def case(trial: Trial) -> None:
        victim, *others = trial.ground.all
        heard = len(trial.ground.listener.events)
        with trial.busy(victim, jobs=2) as his:
            victim.unplug()
            began = time.monotonic()
        # Its worker goes on, and its results are ready to be written.
        assert trial.end([*his, *trial.add(12)]) == []
        rows, events = trial.ground.rows(), trial.ground.listener.events[heard:]
        eventually(lambda: trial.ready(victim)["redis"] is False, lambda: trial.ready(victim), NOTICED_S)
        assert [trial.ready(host)["status"] for host in others] == [200, 200]
        time.sleep(max(0.0, began + GONE_S - time.monotonic()))
        victim.plug()
        trial.until_ready()
        time.sleep(LOCK_S)
        assert trial.ground.rows() == rows
        late = trial.ground.listener.events[heard + len(events) :]
        assert {each["id"] for each in late} <= {each["id"] for each in events}
        assert trial.work(victim) == []

    run(case)


def test_a_host_that_lost_one_server_leaves_the_jobs_to_others(run) -> None:
    def case(trial: Trial) -> None:
        lost = dict(zip(trial.ground.all, (("database", DATABASE), ("storage", STORE)), strict=False))
        [well] = set(trial.ground.all) - set(lost)
        # One of them has a slot left, at least.
        with trial.busy(*lost, jobs=2) as theirs:
            for host, (_, server) in lost.items():
                host.lose(server)
        for host, (part, _) in lost.items():
            state = partial(trial.ready, host)
            eventually(lambda state=state, part=part: state().get(part) is False, state, NOTICED_S)
        taken = [trial.taken(host) for host in lost]
        # The jobs in hand may wait with their work done, and their locks.
        wanted = {each.id for each in trial.add(20)}
        eventually(lambda: wanted <= trial.ground.ended(), trial.ground.ended, ENDED_S)
        assert [trial.taken(host) for host in lost] == taken
        states = {host: trial.ready(host) for host in trial.ground.all}
        assert states[well]["status"] == 200
        for host, (part, server) in lost.items():
            away = {name for name, there in states[host].items() if there is False}
            assert (states[host]["status"], away) == (503, {part})
            host.find(server)
        trial.until_ready()
        assert trial.end(theirs) == []
        assert trial.work(*lost) == []

    run(case)


def test_rows_that_were_on_their_way_when_the_lock_ran_out_are_not_written(run) -> None:
    photos = ("begins", "is-completed", "fails")

    async def late(trial: Trial) -> None:
        host, ground = trial.ground.all[0], trial.ground
        row = Row(width=1, height=1, processing_metadata="{}")
        his, theirs = (PostgresMetadataStore(url) for url in (ground.url_on_hosts, ground.url))
        try:
            with host.inside():
                await asyncio.gather(*(his.begin(photo, EARLY) for photo in photos))
            host.lose(DATABASE)
            by = time.monotonic() + 0.5
            writing = asyncio.gather(
                his.begin(photos[0], LATE, by=by),
                his.complete(photos[1], Row(width=2, height=2, processing_metadata="{}"), LATE, by=by),
                his.fail(photos[2], "X: y", LATE, final=True, by=by),
                return_exceptions=True,
            )
            await asyncio.sleep(0.7)
            # By then another service may have the jobs.
            await asyncio.gather(*(theirs.complete(photo, row, EARLY) for photo in photos))
            before = ground.rows()
            host.find(DATABASE)
            refused = await writing
            assert ground.rows() == before
            assert all(isinstance(each, DatabaseUnavailable) for each in refused), refused
            assert all("lock must have run out" in str(each) for each in refused), refused
        finally:
            await his.close()
            await theirs.close()
            ground.forget(photos)

    run(lambda trial: asyncio.run(late(trial)))
