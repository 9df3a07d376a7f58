"""The pool with real worker processes: photos in, results out, and what becomes of workers that die or hang."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest
from PIL import Image

from fastproc.core.errors import FileCorrupted, FleetHalted, WorkerKilled, WorkerTimeout
from fastproc.core.fleet import Rules
from fastproc.core.model import Limits, Options
from fastproc.ipc.messages import Settings
from fastproc.supervisor.workers.pool import Pool
from fastproc.supervisor.workers.task import Result
from tests import pictures

#: No timing here is tighter than this: two cores may have much else to do.
PATIENCE_S = 30.0
STAGES = ("validation", "metadata", "thumbnails", "optimization")
OPTIONS = Options(stages=STAGES, limits=Limits(max_source_bytes=8 << 20))


def ignore(_stage: str) -> None:
    return


@asynccontextmanager
async def started(
    size: int = 1, timeout_s: float = PATIENCE_S, options: Options = OPTIONS
) -> AsyncIterator[Pool]:
    """A pool whose workers are all ready."""
    pool = Pool(size, Settings(options=options), timeout_s)
    pool.start()
    try:
        await until(lambda: pool.alive == size)
        yield pool
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await pool.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def process(pool: Pool, photo: bytes, on_stage: Callable[[str], None] = ignore) -> Result:
    async with pool.lend() as loan:
        loan.target[: len(photo)] = photo
        loan.size = len(photo)
        return await pool.run(loan, "image/jpeg", on_stage)


@contextlib.contextmanager
def stopped(pid: int) -> AsyncIterator[None]:  # type: ignore[misc]
    """Freeze a process of ours; it goes on, or is gone, at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_a_photo_goes_in_and_its_renditions_come_out() -> None:
    seen: list[str] = []
    async with started() as pool:
        result = await process(pool, pictures.jpeg(800, 600), seen.append)
        assert pool.greeting is not None
    assert tuple(seen) == STAGES
    assert (result.report.width, result.report.height, result.report.format) == (800, 600, "jpeg")
    sizes = {
        rendition.name: Image.open(io.BytesIO(body)).size
        for rendition, body in zip(result.report.renditions, result.bodies, strict=True)
    }
    assert sizes == {"thumb_sm": (150, 113), "thumb_md": (300, 225), "thumb_lg": (600, 450)} or sizes == {
        "thumb_sm": (150, 112),
        "thumb_md": (300, 225),
        "thumb_lg": (600, 450),
    }


async def test_a_photo_that_fails_leaves_its_worker_well() -> None:
    async with started() as pool:
        pids = pool.pids
        with pytest.raises(FileCorrupted):
            await process(pool, pictures.jpeg(800, 600)[:4000])
        assert (await process(pool, pictures.jpeg())).bodies
        assert pool.pids == pids
        assert pool.deaths == 0


async def test_a_worker_that_is_killed_loses_its_own_task_alone_and_is_replaced() -> None:
    async with started(size=2) as pool:
        victim, other = pool.pids
        with stopped(victim):
            # Two tasks: one for the victim, which hangs in it, and one for the other worker.
            first = asyncio.create_task(process(pool, pictures.jpeg()))
            second = asyncio.create_task(process(pool, pictures.jpeg()))
            done, hanging = await asyncio.wait(
                (first, second), timeout=PATIENCE_S, return_when="FIRST_COMPLETED"
            )
            assert [task.exception() for task in done] == [None]
            os.kill(victim, signal.SIGKILL)
            [lost] = hanging
            with pytest.raises(WorkerKilled, match="SIGKILL"):
                await asyncio.wait_for(lost, PATIENCE_S)
        await until(lambda: pool.alive == 2)
        assert other in pool.pids
        assert victim not in pool.pids
        assert pool.deaths == 1
        assert (await process(pool, pictures.jpeg())).bodies


async def test_a_worker_that_hangs_is_killed_at_the_deadline() -> None:
    async with started(timeout_s=1.5) as pool:
        [pid] = pool.pids
        with stopped(pid), pytest.raises(WorkerTimeout, match=r"no result after 1\.5 s"):
            await process(pool, pictures.jpeg())
        await until(lambda: pool.alive == 1)
        assert pool.pids != [pid]
        assert (await process(pool, pictures.jpeg())).bodies


async def test_cancelling_a_task_kills_its_worker_before_the_memory_is_lent_again() -> None:
    async with started() as pool:
        [pid] = pool.pids
        with stopped(pid):
            task = asyncio.create_task(process(pool, pictures.jpeg()))
            await until(lambda: pool.busy == 1)
            task.cancel()
            await asyncio.wait([task], timeout=PATIENCE_S)
        assert task.cancelled()
        assert not psutil.pid_exists(pid)
        assert pool._loans.lent == [0]
        await until(lambda: pool.alive == 1)
        # It was wanted so: it is no death that an operator has to look into.
        assert (pool.deaths, [each.last_death for each in pool.workers()]) == (0, [""])
        assert (await process(pool, pictures.jpeg())).bodies


async def test_cancelling_a_task_that_waits_harms_nobody() -> None:
    async with started() as pool:
        [pid] = pool.pids
        with stopped(pid):
            busy = asyncio.create_task(process(pool, pictures.jpeg()))
            await until(lambda: pool.busy == 1)
            waiting = asyncio.create_task(process(pool, pictures.jpeg()))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait([waiting], timeout=PATIENCE_S)
            assert pool._tasks.waiting == []
        assert (await asyncio.wait_for(busy, PATIENCE_S)).bodies
        assert pool.pids == [pid]
        assert pool._loans.lent == [0]


async def test_descriptors_and_shared_memory_are_back_at_their_baseline_after_fifty_tasks() -> None:
    photo, broken = pictures.jpeg(640, 480), b"no picture"
    async with started() as pool:
        # Lanes are made for the most that is ever lent at once, then recycled.
        await asyncio.gather(*(process(pool, photo) for _ in range(10)))
        before = held()
        for _ in range(5):
            calls = [process(pool, photo if n % 5 else broken) for n in range(10)]
            await asyncio.gather(*calls, return_exceptions=True)
        after = held()
        assert pool._loans.lent == [0]
        assert pool.deaths == 0
    assert after == before


def held() -> int:
    """Open descriptors, those of the blobs among them."""
    return len(os.listdir("/proc/self/fd"))


async def test_recycled_memory_does_not_grow() -> None:
    async with started() as pool:
        for _ in range(3):
            await process(pool, pictures.jpeg())
        before, files = psutil.Process().memory_info().shared, held()
        for _ in range(30):
            await process(pool, pictures.jpeg())
        assert psutil.Process().memory_info().shared - before < 4 << 20
        assert held() == files


async def test_work_moves_to_an_idle_worker() -> None:
    async with started(size=2) as pool:
        # Photos of different sizes: each result must be its own photo's, wherever that was moved to.
        photos = [pictures.jpeg(200 + 10 * n, 200) for n in range(6)]
        with stopped(pool.pids[0]):
            tasks = [asyncio.create_task(process(pool, photo)) for photo in photos]
            await until(lambda: sum(task.done() for task in tasks) == 5)
            assert pool.moves > 0
        results = await asyncio.gather(*tasks)
        assert [result.report.width for result in results] == [200, 210, 220, 230, 240, 250]
        assert pool._loans.lent == [0, 0]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: a worker is not dumpable, so its /proc is root's")
async def test_a_worker_has_no_environment_of_ours_and_no_descriptor_but_its_own() -> None:
    os.environ["FASTPROC_TEST_SECRET"] = "swordfish"
    try:
        async with started() as pool:
            await process(pool, pictures.jpeg())
            [pid] = pool.pids
            environment = psutil.Process(pid).environ()
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    finally:
        del os.environ["FASTPROC_TEST_SECRET"]
    assert set(environment) == {"VIPS_CONCURRENCY", "MALLOC_ARENA_MAX", "LC_ALL"}
    assert sum(link.startswith("socket:") for link in links) == 1
    allowed = ("/dev/", "/memfd:fastproc-output-0", "/memfd:fastproc-source-0")
    assert not [link for link in links if link.startswith("/") and not link.startswith(allowed)]


async def test_stopping_the_pool_ends_every_process() -> None:
    async with started(size=2) as pool:
        pids = pool.pids
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_deployment_whose_workers_do_not_survive_their_start_is_given_up() -> None:
    options = Options(stages=("validation", "no_such_stage"))
    rules = Rules(boot_failures=2, boot_backoff_s=0.01)
    pool = Pool(1, Settings(options=options), 5.0, rules)
    pool.start()
    with pytest.raises(FleetHalted, match="did not survive its start 2 times in a row"):
        await asyncio.wait_for(asyncio.shield(pool.halted), PATIENCE_S)
    await pool.stop()


async def test_after_the_halt_a_hanging_task_still_has_its_deadline() -> None:
    """A pool that is stopped after the halt must not wait for a worker that hangs."""
    async with started(timeout_s=2.0) as pool:
        [pid] = pool.pids
        with stopped(pid):
            task = asyncio.create_task(process(pool, pictures.jpeg()))
            await until(lambda: pool.busy == 1)
            pool._halt("another slot does not start")
            with pytest.raises(FleetHalted):
                await asyncio.wait_for(asyncio.shield(pool.halted), PATIENCE_S)
            with pytest.raises(WorkerTimeout):
                await asyncio.wait_for(task, PATIENCE_S)
