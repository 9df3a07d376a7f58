"""Locks: renewed together, lost ones interrupt their job at once, time is the monotonic clock's."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace

import pytest
from msgspec import structs

from fastproc.core.errors import LockLost, QueueUnavailable
from fastproc.core.model import Job
from fastproc.supervisor import locks as locks_module
from fastproc.supervisor.locks import LockKeeper
from tests.unit.supervisor.fakes import JOB, Effects, FakeQueue


class Clock:
    """Monotonic seconds that move when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(locks_module, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


class Keeper(LockKeeper):
    """A keeper of 30 s locks on a fake queue."""

    def __init__(self) -> None:
        self.queue = FakeQueue(Effects())
        self.swept: list[str] = []
        super().__init__(self.queue, 30.0, 60.0, self.swept.extend)

    def job(self, job_id: str = "7") -> asyncio.Task[str]:
        return asyncio.create_task(self._work(structs.replace(JOB, id=job_id)))

    async def _work(self, job: Job) -> str:
        async with self.hold(job):
            await asyncio.Event().wait()
        return "unheard of"


async def ended(*tasks: asyncio.Task[str]) -> None:
    async with asyncio.timeout(5):
        await asyncio.wait(tasks)


async def test_all_locks_are_renewed_in_one_call(clock: Clock) -> None:
    keeper = Keeper()
    tasks = [keeper.job(str(n)) for n in range(3)]
    await asyncio.sleep(0)
    clock.now += 7.5
    await keeper.renew()
    assert keeper.queue.renewed == [["0", "1", "2"]]
    for task in tasks:
        task.cancel()
    await ended(*tasks)


async def test_a_lock_that_is_hardly_used_is_not_renewed(clock: Clock) -> None:
    keeper = Keeper()
    old = keeper.job("old")
    await asyncio.sleep(0)
    clock.now += 7.5
    young = keeper.job("young")
    await asyncio.sleep(0)
    await keeper.renew()
    clock.now += 1
    await keeper.renew()
    assert keeper.queue.renewed == [["old"]]
    old.cancel()
    young.cancel()
    await ended(old, young)


async def test_nothing_is_asked_when_nothing_is_held() -> None:
    keeper = Keeper()
    await keeper.renew()
    keeper.expire()
    assert keeper.queue.renewed == []


async def test_a_lock_that_is_gone_ends_its_own_job_alone(clock: Clock) -> None:
    keeper = Keeper()
    lost, kept = keeper.job("lost"), keeper.job("kept")
    await asyncio.sleep(0)
    clock.now += 10
    keeper.queue.lost = {"lost"}
    await keeper.renew()
    await ended(lost)
    assert isinstance(lost.exception(), LockLost)
    assert not kept.done()
    kept.cancel()
    await ended(kept)
    assert kept.cancelled()


async def test_locks_that_are_lost_together_are_one_line(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper()
    tasks = [keeper.job(str(number)) for number in range(40)]
    await asyncio.sleep(0)
    clock.now += 31
    for _ in range(2):
        keeper.expire()
    await asyncio.wait(tasks)
    [record] = caplog.records
    assert record.getMessage() == "abandoned, lock lost: it could not be renewed in time"
    assert (record.fields["jobs"], record.fields["outcome"]) == (40, "lost")
    assert record.fields["jobIds"] == [str(number) for number in range(locks_module.MOST_NAMED)]
    assert all(task.exception().is_told for task in tasks)


async def test_one_id_in_hand_twice_is_two_locks(clock: Clock) -> None:
    """A job that was removed and added again while its first run goes on."""
    keeper = Keeper()
    first, second = (
        asyncio.create_task(keeper._work(structs.replace(JOB, token=token))) for token in ("w:1", "w:2")
    )
    await asyncio.sleep(0)
    first.cancel()
    await ended(first)
    clock.now += 10
    await keeper.renew()
    assert keeper.queue.renewed == [["7"]]
    assert not second.done()
    second.cancel()
    await ended(second)


async def test_a_lock_that_could_not_be_renewed_in_time_counts_as_lost(clock: Clock) -> None:
    keeper = Keeper()
    task = keeper.job()
    await asyncio.sleep(0)
    keeper.queue.effects.fail_at("queue.extend_locks", *[QueueUnavailable("away")] * 10)
    for _ in range(4):
        clock.now += 7.4
        await keeper.renew()
        keeper.expire()
    await asyncio.sleep(0)
    assert not task.done()
    clock.now += 0.5
    keeper.expire()
    await ended(task)
    assert isinstance(task.exception(), LockLost)


async def test_a_renewal_counts_from_when_it_was_asked_not_from_its_answer(clock: Clock) -> None:
    keeper = Keeper()
    task = keeper.job()
    await asyncio.sleep(0)
    clock.now += 10
    asked = keeper.queue.extend_locks

    async def slow(jobs: list[Job]) -> list[Job]:
        clock.now += 20
        return await asked(jobs)

    keeper.queue.extend_locks = slow  # type: ignore[method-assign,assignment]
    await keeper.renew()
    clock.now += 10.5
    keeper.expire()
    await ended(task)
    assert isinstance(task.exception(), LockLost)


async def test_a_renewed_lock_does_not_expire(clock: Clock) -> None:
    keeper = Keeper()
    task = keeper.job()
    await asyncio.sleep(0)
    for _ in range(20):
        clock.now += 7.5
        await keeper.renew()
        keeper.expire()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await ended(task)


async def test_a_lock_is_ours_until_it_would_run_out_without_another_renewal(clock: Clock) -> None:
    keeper = Keeper()
    assert keeper.ours_until(JOB) == -math.inf
    task = keeper.job()
    await asyncio.sleep(0)
    assert keeper.ours_until(JOB) == 1030.0
    clock.now += 20
    await keeper.renew()
    assert keeper.ours_until(JOB) == 1050.0
    keeper._interrupt([keeper._held["7", "w:1"]], "gone")
    assert keeper.ours_until(JOB) == -math.inf
    await ended(task)


async def test_a_job_that_somebody_else_cancels_is_cancelled_and_not_lost() -> None:
    task = Keeper().job()
    await asyncio.sleep(0)
    task.cancel()
    await ended(task)
    assert task.cancelled()


async def test_a_job_that_is_lost_and_cancelled_in_the_same_moment_is_cancelled() -> None:
    keeper = Keeper()
    task = keeper.job()
    await asyncio.sleep(0)
    keeper._interrupt([keeper._held["7", "w:1"]], "gone")
    task.cancel()
    await ended(task)
    assert task.cancelled()


async def test_a_late_answer_about_a_job_does_not_hit_the_next_one_of_the_same_task(clock: Clock) -> None:
    keeper = Keeper()
    go_on = asyncio.Event()

    async def two_jobs() -> None:
        async with keeper.hold(JOB):
            await go_on.wait()
        async with keeper.hold(structs.replace(JOB, id="8")):
            await asyncio.Event().wait()

    task = asyncio.create_task(two_jobs())
    await asyncio.sleep(0)
    clock.now += 10
    keeper.queue.lost = {"7"}
    asked = keeper.queue.extend_locks

    async def meanwhile(jobs: list[Job]) -> list[Job]:
        go_on.set()
        await asyncio.sleep(0.01)
        assert [job_id for job_id, _ in keeper._held] == ["8"]
        return await asked(jobs)

    keeper.queue.extend_locks = meanwhile  # type: ignore[method-assign,assignment]
    await keeper.renew()
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert keeper._held == {}


async def test_it_renews_and_sweeps_by_itself_and_tells_what_a_sweep_found() -> None:
    keeper = Keeper()
    keeper._lock_s, keeper._sweep_s = 0.02, 0.02
    keeper.queue.stalled = ["3"]
    keeper.queue.effects.fail_at("queue.sweep", QueueUnavailable("away"))
    task, running = keeper.job(), asyncio.create_task(keeper.run())
    async with asyncio.timeout(5):
        while len(keeper.queue.renewed) < 3 or len(keeper.swept) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert set(keeper.swept) == {"3"}
    running.cancel()
    task.cancel()
    await asyncio.gather(running, task, return_exceptions=True)


async def test_a_renewal_that_has_failed_is_soon_made_again() -> None:
    keeper = Keeper()
    keeper._lock_s = 2.0
    keeper.queue.effects.fail_at("queue.extend_locks", *[QueueUnavailable("away")] * 4)
    task, running = keeper.job(), asyncio.create_task(keeper.run())
    async with asyncio.timeout(1.5):  # Four normal turns would take 2 s more.
        while not keeper.queue.renewed:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert not task.done()
    running.cancel()
    task.cancel()
    await asyncio.gather(running, task, return_exceptions=True)


async def test_a_redis_that_hangs_does_not_keep_a_lock_alive() -> None:
    keeper = Keeper()
    keeper._lock_s = 0.05
    keeper.queue.effects.hang_at = "queue.extend_locks"
    task, running = keeper.job(), asyncio.create_task(keeper.run())
    await ended(task)
    assert isinstance(task.exception(), LockLost)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
