"""The pool where the kernel refuses memory, descriptors or processes, or kills: no job, slot or lane is lost."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fastproc.config.host import memory_limit, oom_kills
from fastproc.core import admission
from fastproc.core.errors import NeighbourAway, WorkerKilled
from fastproc.core.fleet import Rules
from fastproc.core.header import Header
from fastproc.core.model import Limits, Options
from fastproc.core.slot import State
from fastproc.ipc import channel
from fastproc.ipc.messages import Settings
from fastproc.supervisor.workers.host import Host
from fastproc.supervisor.workers.pool import Pool
from fastproc.supervisor.workers.process import WorkerProcess
from tests import pictures
from tests.integration.test_pool import OPTIONS, PATIENCE_S, STAGES, held, process, started, stopped, until

SMALL = pictures.jpeg()
QUICK = Rules(boot_backoff_s=0.02, boot_backoff_max_s=0.1)


@contextlib.contextmanager
def descriptors(spare: int) -> Iterator[None]:
    """Let this process open `spare` more descriptors, and none beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0) for _ in range(spare + 1)]
    for fd in taken:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_worker_whose_fork_is_refused_is_spawned_when_the_kernel_lets_it_and_none_is_halted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []

    def refuse(*_arguments: object, **_more: object) -> None:
        tries.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    pool = Pool(1, Settings(options=OPTIONS), PATIENCE_S, QUICK)
    pool.start()
    try:
        await until(lambda: pool.alive == 1)
        assert (await process(pool, pictures.jpeg())).bodies
        files = held()
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", refuse)
            os.kill(pool.pids[0], signal.SIGKILL)
            await until(lambda: len(tries) > QUICK.boot_failures + 2)
            assert "temporarily unavailable" in pool.refusal
            assert not pool.halted.done()
            with pytest.raises(NeighbourAway, match="a worker process"):
                await asyncio.wait_for(process(pool, pictures.jpeg()), PATIENCE_S)
        await until(lambda: pool.alive == 1)
        assert pool.refusal == ""
        assert (await process(pool, pictures.jpeg())).bodies
        assert held() == files
    finally:
        await pool.stop()


async def test_whatever_step_of_a_spawn_is_refused_nothing_is_left() -> None:
    refused = 0
    for spare in range(12):
        before, told, worker = held(), [], None
        with descriptors(spare), contextlib.suppress(OSError):
            worker = WorkerProcess(0, Settings(options=OPTIONS), told.append, told.append, told.append)
        if worker:
            worker.kill()
            await asyncio.wait_for(worker.gone.wait(), PATIENCE_S)
        else:
            refused += 1
        assert held() == before
    assert 4 < refused < 12


async def test_a_child_whose_watch_is_refused_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    spawned = []

    def refuse(pid: int) -> int:
        spawned.append(pid)
        raise OSError(24, "Too many open files")

    before = held()
    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="Too many"):
        WorkerProcess(0, Settings(options=OPTIONS), print, print, print)
    assert not psutil.pid_exists(spawned[0])
    assert held() == before


def test_a_pair_that_cannot_be_set_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = held()
    monkeypatch.setattr(channel, "MAX_MESSAGE_BYTES", 1 << 40)
    with pytest.raises(TypeError):
        channel.pair()
    assert held() == before


async def test_shared_memory_that_is_refused_gives_the_job_back_and_loses_nothing() -> None:
    async with started() as pool:
        before = held()
        with descriptors(0), pytest.raises(NeighbourAway, match=r"shared memory: .*Too many open files"):
            async with pool.lend("p"):
                pass
        assert pool._loans.lent == [0]
        assert held() == before
        assert (await process(pool, pictures.jpeg())).bodies


@pytest.mark.parametrize("step", ["ftruncate", "mmap", "fcntl"])
async def test_memory_that_is_refused_half_made_is_not_kept(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastproc.ipc import blob

    def refuse(*_arguments: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    async with started() as pool:
        before = held()
        with monkeypatch.context() as patch:
            patch.setattr({"ftruncate": os, "mmap": mmap, "fcntl": blob.fcntl}[step], step, refuse)
            with pytest.raises(NeighbourAway, match="Cannot allocate"):
                async with pool.lend("p"):
                    pass
        assert held() == before


async def test_a_photo_that_cannot_be_carried_stays_at_home_and_is_run_in_the_end() -> None:
    photo = pictures.jpeg()
    async with started(size=2) as pool:
        first = pool.pids[0]
        with stopped(first):
            tasks = [asyncio.create_task(process(pool, photo)) for _ in range(2)]
            await until(lambda: sum(task.done() for task in tasks) == 1)
            [hanging] = pool._tasks.running.values()
            # Its home is the frozen worker's slot, and the other worker is idle.
            loan, only_lane = pool._loans.lend(hanging.loan.slot), pool._loans.lend(1 - hanging.loan.slot)
            loan.target[: len(photo)] = photo
            loan.size = len(photo)
            with descriptors(0):
                waiting = asyncio.create_task(pool.run(loan, "image/jpeg", lambda _stage: None))
                await asyncio.sleep(0.2)
                assert [task.loan for task in pool._tasks.waiting] == [loan]
                assert loan.slot == hanging.loan.slot
            # Without any other fact it is tried again.
            assert (await asyncio.wait_for(waiting, PATIENCE_S)).bodies
            assert loan.slot != hanging.loan.slot
            pool._loans.take_back(loan)
            pool._loans.take_back(only_lane)
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
        assert pool._loans.lent == [0, 0]


async def test_a_giants_memory_that_cannot_be_replaced_costs_neither_the_result_nor_the_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastproc.ipc import blob

    monkeypatch.setattr(blob, "RECYCLE_BYTES", 1)
    async with started() as pool:
        assert (await process(pool, pictures.jpeg())).bodies
        async with pool.lend() as loan:
            photo = pictures.jpeg()
            loan.target[: len(photo)] = photo
            loan.size = len(photo)
            with descriptors(0):
                assert (await pool.run(loan, "image/jpeg", lambda _stage: None)).bodies
        assert pool._loans.lent == [0]
        before = held()
        assert (await process(pool, pictures.jpeg())).bodies
        assert held() <= before


async def test_a_kill_from_outside_is_an_ordinary_attempt_and_no_evidence() -> None:
    async with started() as pool:
        [pid] = pool.pids
        with stopped(pid):
            task = asyncio.create_task(process(pool, pictures.jpeg()))
            await until(lambda: pool.busy == 1)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(WorkerKilled, match="perhaps the container is out of memory") as caught:
                await asyncio.wait_for(task, PATIENCE_S)
        assert caught.value.death is None


async def test_lack_of_memory_is_no_guess_where_the_kernel_counts_what_it_kills(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = Pool(1, Settings(options=OPTIONS), PATIENCE_S, QUICK, Host(sees_kills=True))
    pool.start()
    try:
        await until(lambda: pool.alive == 1)
        [pid] = pool.pids
        with stopped(pid):
            task = asyncio.create_task(process(pool, pictures.jpeg()))
            await until(lambda: pool.busy == 1)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(WorkerKilled, match="not by the kernel for lack of memory"):
                await asyncio.wait_for(task, PATIENCE_S)
        await until(lambda: pool.alive == 1)
        # One that the service itself sends is named as what it is.
        [pid] = pool.pids
        caplog.clear()
        with stopped(pid):
            task = asyncio.create_task(process(pool, pictures.jpeg()))
            await until(lambda: pool.busy == 1)
            task.cancel()
            await asyncio.wait([task])
        assert [each.getMessage() for each in caplog.records] == [
            "worker 0 is killed: its job was abandoned", "worker 0: SIGKILL",
        ]  # fmt: skip
        assert [each.fields["pid"] for each in caplog.records] == [pid, pid]
    finally:
        await pool.stop()


async def run_as(pool: Pool, photo: str, body: bytes = SMALL) -> None:
    async with pool.lend(photo) as loan:
        loan.target[: len(body)] = body
        loan.size = len(body)
        await pool.run(loan, "image/jpeg", lambda _stage: None)


async def test_a_photo_whose_worker_the_kernel_killed_goes_back_uncounted_and_then_runs_alone() -> None:
    kills = [3]
    pool = Pool(2, Settings(options=OPTIONS), PATIENCE_S, QUICK, Host(oom_kills=lambda: kills[0]))
    pool.start()
    try:
        await until(lambda: pool.alive == 2)
        victim = pool.pids[0]
        with stopped(victim):
            task = asyncio.create_task(run_as(pool, "large"))
            await until(lambda: pool.busy == 1)
            kills[0] += 1
            os.kill(victim, signal.SIGKILL)
            with pytest.raises(NeighbourAway, match="the kernel killed the worker"):
                await asyncio.wait_for(task, PATIENCE_S)
        # Fewer workers exist now.
        await until(lambda: pool.alive == len(pool.processes.living) == 1)
        assert pool.memory.kernel_kills == 1
        with contextlib.ExitStack() as frozen:
            for pid in pool.processes.living.values():
                frozen.enter_context(stopped(pid))
            alone = asyncio.create_task(run_as(pool, "large"))
            beside = asyncio.create_task(run_as(pool, "small"))
            await until(lambda: pool.busy == 1)
            await asyncio.sleep(0.1)
            assert pool.busy == 1
            [running] = pool._tasks.running.values()
            assert running.loan.photo == "large"
            # Killed while it ran alone: that is an attempt.
            kills[0] += 1
            os.kill(pool.processes[running.loan.slot].pid, signal.SIGKILL)
            with pytest.raises(WorkerKilled, match="while no other existed"):
                await asyncio.wait_for(alone, PATIENCE_S)
        await asyncio.wait_for(beside, PATIENCE_S)
    finally:
        await pool.stop()


@pytest.fixture
def cgroup() -> Iterator[tuple[Path, Path]]:
    """A cgroup of 64 MiB, and a file that names it as /proc/PID/cgroup would."""
    root = Path("/sys/fs/cgroup")
    is_v1 = (root / "memory").is_dir()
    group = (root / "memory" if is_v1 else root) / f"fastproc-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    with tempfile.NamedTemporaryFile("w") as own:
        own.write(f"1:{'memory' if is_v1 else ''}:/{group.name}\n")
        own.flush()
        yield group, Path(own.name)
    for _ in range(100):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)


async def test_a_worker_that_the_kernel_kills_for_real_is_recognised_and_its_photo_completes(
    cgroup: tuple[Path, Path],
) -> None:
    group, own = cgroup
    root = Path("/sys/fs/cgroup")
    large = pictures.jpeg(4000, 3000, progressive=True, quality=95)
    options = Options(stages=STAGES, optimize_threshold_bytes=1, limits=Limits(max_source_bytes=16 << 20))
    host = Host(oom_kills=lambda: oom_kills(root, own))
    pool = Pool(1, Settings(options=options), PATIENCE_S, QUICK, host)
    pool.start()
    try:
        await until(lambda: pool.alive == 1)
        assert memory_limit(root, own) == 64 << 20
        (group / "cgroup.procs").write_text(str(pool.pids[0]))
        with pytest.raises(NeighbourAway, match="the kernel killed the worker for lack of memory"):
            await run_as(pool, "large", large)
        assert pool.memory.kernel_kills == 1
        # The next worker is not in the small cgroup.
        await until(lambda: pool.alive == 1)
        await run_as(pool, "large", large)
    finally:
        await pool.stop()


async def test_two_giants_do_not_meet() -> None:
    giant = pictures.jpeg(4000, 3000, progressive=True, quality=60)
    options = Options(stages=("validation",), limits=Limits(max_source_bytes=8 << 20))
    pool = Pool(2, Settings(options=options), PATIENCE_S, QUICK, Host(budget_of=lambda _workers: 100 << 20))
    pool.start()
    try:
        await until(lambda: pool.alive == 2)
        with contextlib.ExitStack() as frozen:
            for pid in pool.pids:
                frozen.enter_context(stopped(pid))
            tasks = [asyncio.create_task(process(pool, giant)) for _ in range(2)]
            await until(lambda: pool.busy == 1)
            await asyncio.sleep(0.1)
            assert pool.busy == 1
            assert len(pool._tasks.waiting) == 1
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
        small = [asyncio.create_task(process(pool, pictures.jpeg())) for _ in range(2)]
        await asyncio.gather(*small)
    finally:
        await pool.stop()


async def test_idle_workers_make_room_for_a_photo_that_does_not_fit_beside_them_and_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "FEW_S", 0.5)
    large = pictures.jpeg(4000, 3000, progressive=True, quality=60)
    need = admission.need_of(Header(format="jpeg", width=4000, height=3000, decoded_bytes=0), len(large), 1)
    options = Options(
        stages=("validation",), optimize_threshold_bytes=1, limits=Limits(max_source_bytes=8 << 20)
    )
    host = Host(budget_of=lambda alive: need.bytes + (200 << 20) if alive == 1 else 100 << 20)
    pool = Pool(3, Settings(options=options), PATIENCE_S, QUICK, host)
    pool.start()
    try:
        await until(lambda: pool.alive == 3)
        running = asyncio.create_task(process(pool, large))
        await until(lambda: pool.busy == 1)
        assert pool.alive == len(pool.processes.living) == 1
        await asyncio.wait_for(running, PATIENCE_S)
        await asyncio.wait_for(process(pool, SMALL), PATIENCE_S)
        assert pool.alive == 1
        await asyncio.sleep(0.5)
        assert pool.tend() == []
        await until(lambda: pool.alive == 3)
    finally:
        await pool.stop()
    assert pool.deaths == 0


async def test_a_task_in_no_list_and_a_slot_without_a_process_are_found_and_mended() -> None:
    async with started(size=2) as pool:
        assert pool.tend() == []
        pid = pool.pids[0]
        with stopped(pid), stopped(pool.pids[1]):
            tasks = [asyncio.create_task(process(pool, pictures.jpeg())) for _ in range(3)]
            await until(lambda: len(pool._tasks.waiting) == 1)
            [stray] = pool._tasks.waiting
            pool._tasks.waiting.clear()
            assert pool.tend() == [f"task {stray.number} was in no list"]
            with pytest.raises(NeighbourAway, match="in no list"):
                await asyncio.wait_for(tasks[-1], PATIENCE_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        # A slot that believes in a process which is gone.
        process_ = pool.processes[0]
        pool._fleet.slots[0].state = State.STARTING
        process_._on_exit = lambda _how: None
        os.kill(process_.pid, signal.SIGKILL)
        await asyncio.wait_for(process_.gone.wait(), PATIENCE_S)
        assert pool.tend() == ["worker 0 was starting without a process"]
        await until(lambda: pool.alive == 2)
