"""Says what of the plan (workers, photos in hand) does not fit into what the host gives, and which value would.

Rule 1: a warning begins with the variable to change, and has the number that is needed, the one that is there, and a
        value that fits.
Rule 2: nothing here stops a service: what does not fit runs slower, or is refused by the kernel when it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from fastproc.config.pool import PoolConfig
from fastproc.core.admission import STAGED_SHARE, staged_bytes, wanted_bytes

#: Processes and threads: of a supervisor, and of a worker (tuning.md, "threads and descriptors").
SUPERVISOR_TASKS: Final = 24
WORKER_TASKS: Final = 8
#: Descriptors: of a supervisor that does nothing, for each worker, and for each job in hand (likewise).
SUPERVISOR_DESCRIPTORS: Final = 112
WORKER_DESCRIPTORS: Final = 4
JOB_DESCRIPTORS: Final = 4
#: A phone's photo of 12 megapixels.
PHONE_BYTES: Final = 3 << 20


class Room(Struct, frozen=True, kw_only=True):
    """What the host gives: cores, bytes of memory (`limited`: by a cgroup), tasks that may be started, descriptors.

    0 is no limit.
    """

    cores: int = 0
    memory_bytes: int = 0
    limited: bool = True
    tasks: int = 0
    descriptors: int = 0


def misfits(pool: PoolConfig, room: Room, supervisors: int = 1) -> list[str]:
    """Return a warning for each part of the plan, that of all `supervisors` together, that does not fit."""
    found = (_cores(pool, room), _memory(pool, room), _staged(pool, room), _tasks(pool, room, supervisors))
    return [words for words in (*found, _descriptors(pool, room, supervisors)) if words]


def _cores(pool: PoolConfig, room: Room) -> str:
    if not room.cores or pool.workers <= room.cores:
        return ""
    return (
        f"WORKER_CONCURRENCY: {pool.workers} workers share {room.cores} cores (affinity and CPU quota):"
        f" {room.cores} fits, more only take memory"
    )


def _memory(pool: PoolConfig, room: Room) -> str:
    needed = wanted_bytes(pool.workers)
    if not room.memory_bytes or needed <= room.memory_bytes:
        return ""
    least = f"give {_mib(needed)}"
    fits = _most(pool.workers, lambda workers: wanted_bytes(workers) <= room.memory_bytes)
    if fits:
        least = f"{fits} fits, or {least}"
    there, then = "the memory limit", "large photos run one after another"
    if not room.limited:
        there, then = "the host's memory", "the kernel may kill workers"
    return (
        f"WORKER_CONCURRENCY: {pool.workers} busy workers need {_mib(needed)} for photos of 24 megapixels with copies,"
        f" {there} is {_mib(room.memory_bytes)}: {then}; {least}"
    )


def _staged(pool: PoolConfig, room: Room) -> str:
    """Photos that wait in shared memory: as many bytes as may, and enough for the jobs in hand."""
    limit = room.memory_bytes if room.limited else 0
    staged = staged_bytes(limit, pool.max_inflight_bytes)
    needed = pool.max_in_hand * PHONE_BYTES
    if staged < needed:
        value = f"{needed} fits" if staged_bytes(limit, needed) == needed else _memory_for(needed)
        return (
            f"MAX_INFLIGHT_BYTES: {_mib(staged)} for {pool.max_in_hand} jobs in hand are less than {_mib(needed)},"
            f" a phone's photo for each: workers will wait for room; {value}"
        )
    if staged < pool.max_inflight_bytes and pool.max_inflight_bytes != PoolConfig().max_inflight_bytes:
        return (
            f"MAX_INFLIGHT_BYTES: of {_mib(pool.max_inflight_bytes)} only {_mib(staged)} are used, a quarter of the"
            f" memory limit: {staged} fits"
        )
    return ""


def _memory_for(staged: int) -> str:
    return f"a quarter of the memory limit may be used: give {_mib(round(staged / STAGED_SHARE))}"


def _tasks(pool: PoolConfig, room: Room, supervisors: int) -> str:
    # Several have a master, which is no larger.
    supervising = SUPERVISOR_TASKS * (supervisors + (supervisors > 1))

    def needed(workers: int) -> int:
        return supervising + WORKER_TASKS * workers

    if not room.tasks or needed(pool.workers) <= room.tasks:
        return ""
    fits = _most(pool.workers, lambda workers: needed(workers) <= room.tasks)
    return (
        f"WORKER_CONCURRENCY: {pool.workers} workers may have {needed(pool.workers)} threads, the cgroup's pids.max"
        f" leaves {room.tasks}: {_or_raise(fits, f'pids.max by {needed(pool.workers) - room.tasks}')}"
    )


def _descriptors(pool: PoolConfig, room: Room, supervisors: int) -> str:
    """The limit is that of one process: a supervisor, with its part of the workers and of the jobs in hand."""
    beside = pool.max_in_hand - pool.workers

    def needed(workers: int) -> int:
        in_hand = 2 * workers if pool.prefetch is None else workers + beside
        shared = WORKER_DESCRIPTORS * workers + JOB_DESCRIPTORS * in_hand
        return SUPERVISOR_DESCRIPTORS - (-shared // supervisors)

    if not room.descriptors or needed(pool.workers) <= room.descriptors:
        return ""
    fits = _most(pool.workers, lambda workers: needed(workers) <= room.descriptors)
    each = " in each supervisor" if supervisors > 1 else ""
    return (
        f"WORKER_CONCURRENCY: {pool.workers} workers and {pool.max_in_hand} jobs in hand may take"
        f" {needed(pool.workers)} descriptors{each}, the limit is {room.descriptors} (ulimit -n):"
        f" {_or_raise(fits, f'the limit to {needed(pool.workers)}')}"
    )


def _most(workers: int, fit: Callable[[int], bool]) -> int:
    """Return the most workers that fit; 0 where not even one does."""
    return next((fewer for fewer in range(workers, 0, -1) if fit(fewer)), 0)


def _or_raise(fits: int, limit: str) -> str:
    return f"{fits} fits, or raise {limit}" if fits else f"raise {limit}"


def _mib(count: int) -> str:
    return f"{-(-count >> 20)} MiB"
