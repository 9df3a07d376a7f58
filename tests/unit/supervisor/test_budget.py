"""Photo bytes held at once: bounded, first come first served, given back whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from fastproc.supervisor.budget import ByteBudget


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Holder:
    """A job that holds bytes until it is told to let go."""

    def __init__(self, budget: ByteBudget, *sizes: int) -> None:
        self._budget, self._sizes = budget, sizes
        self.admitted = False
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._budget.share() as share:
            for size in self._sizes:
                await share.admit(size)
            self.admitted = True
            await self._go.wait()

    async def let_go(self) -> None:
        self._go.set()
        await self.task
        await settled()


async def test_no_more_is_held_than_the_total() -> None:
    budget = ByteBudget(100)
    first, second, third = Holder(budget, 60), Holder(budget, 40), Holder(budget, 1)
    await settled()
    assert (first.admitted, second.admitted, third.admitted) == (True, True, False)
    assert budget.held == 100
    await second.let_go()
    assert third.admitted
    assert budget.held == 61
    await first.let_go()
    await third.let_go()
    assert budget.held == 0


async def test_a_photo_larger_than_everything_passes_alone() -> None:
    budget = ByteBudget(100)
    small, giant, after = Holder(budget, 10), Holder(budget, 500), Holder(budget, 10)
    await settled()
    assert not giant.admitted
    assert (
        not after.admitted
    )  # First come, first served: else small photos would keep a large one waiting for ever.
    await small.let_go()
    assert giant.admitted
    assert budget.held == 500
    await giant.let_go()
    assert after.admitted
    await after.let_go()
    assert budget.held == 0


async def test_a_job_that_ends_badly_gives_its_bytes_back() -> None:
    budget = ByteBudget(100)

    async def fail() -> None:
        async with budget.share() as share:
            await share.admit(70)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        await fail()
    assert budget.held == 0
    cancelled = Holder(budget, 70)
    waiting = Holder(budget, 70)
    await settled()
    cancelled.task.cancel()
    await settled()
    assert waiting.admitted
    await waiting.let_go()
    assert budget.held == 0


async def test_a_job_that_is_cancelled_while_it_waits_holds_nothing() -> None:
    budget = ByteBudget(100)
    first, second, third = Holder(budget, 100), Holder(budget, 50), Holder(budget, 50)
    await settled()
    second.task.cancel()
    await settled()
    await first.let_go()
    assert third.admitted
    assert budget.held == 50
    await third.let_go()


async def test_one_that_no_longer_waits_lets_the_next_in() -> None:
    budget = ByteBudget(100)
    first, large, small = Holder(budget, 60), Holder(budget, 100), Holder(budget, 30)
    await settled()
    assert not small.admitted
    large.task.cancel()
    await settled()
    assert small.admitted
    await small.let_go()
    await first.let_go()
    assert budget.held == 0


async def test_a_share_that_grows_gives_back_all_of_it() -> None:
    budget = ByteBudget(100)
    holder = Holder(budget, 30, 30)
    await settled()
    assert budget.held == 60
    await holder.let_go()
    assert budget.held == 0


async def test_nothing_admitted_is_nothing_held() -> None:
    budget = ByteBudget(100)
    async with budget.share():
        assert budget.held == 0
    assert budget.held == 0
