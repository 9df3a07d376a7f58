"""Which waiting tasks may run beside those that run now, in how many workers: what they need must fit in memory.

Rule 1: first come, first served: a task is admitted only together with all before it, so that no large one waits
        without end behind small ones.
Rule 2: a task that needs more than the budget runs alone, and so does one that must.
Rule 3: the kernel's kill for lack of memory halves the number of tasks at once; each quiet minute allows one more.
Rule 4: a task that does not fit beside all idle workers is run by fewer: what a worker that only waits holds is a
        fifth of a small container.
Rule 5: an estimate is about pixels alone: the worker's own limits and the kernel have the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from fastproc.core.header import Header

#: What is resident in a supervisor and in a worker that has done nothing yet (tuning.md, "resident memory").
SUPERVISOR_BYTES: Final = 110 << 20
WORKER_BYTES: Final = 75 << 20
#: What any task takes, and what each pixel adds for an optimised copy (tuning.md, "memory of a task").
TASK_BYTES: Final = 40 << 20
COPY_BYTES_A_PIXEL: Final = 6.3
#: Above so many pixels a copy is one sequential scan, which takes less (`worker.encoders`).
LARGE_PX: Final = 48_000_000
LARGE_COPY_BYTES_A_PIXEL: Final = 3.0
#: The share of a memory limit that photos in shared memory may take, before they are decoded.
STAGED_SHARE: Final = 0.25
#: What a worker keeps of the memory of usual photos.
KEPT_BYTES: Final = 128 << 20
#: Seconds without a kill of the kernel after which one more task may run.
QUIET_S: Final = 60.0
#: Seconds for which workers stay few after a task that needed it: the next large photo seldom comes alone.
FEW_S: Final = 10.0


class Need(Struct, frozen=True):
    """What a task needs: bytes that it adds to its worker, and whether it must be the only one.

    `most_workers`: how many workers may exist while it waits or runs.
    """

    bytes: int = TASK_BYTES
    alone: bool = False
    most_workers: int = 1 << 30


def need_of(header: Header | None, source_bytes: int, optimize_threshold_bytes: int) -> Need:
    """Return the estimate for a photo; without a header it is taken to be small: the worker refuses it, or says more.

    Source: peak RSS of a worker over its idle RSS, tuning.md "memory of a task".
    """
    if header is None:
        return Need()
    pixels, copy = header.width * header.height, 0.0
    if source_bytes > optimize_threshold_bytes:
        copy = pixels * (COPY_BYTES_A_PIXEL if pixels <= LARGE_PX else LARGE_COPY_BYTES_A_PIXEL)
    return Need(TASK_BYTES + header.decoded_bytes + round(copy))


def admitted(waiting: Sequence[Need], running: Sequence[Need], budget_bytes: int, most: int) -> int:
    """Return how many of the waiting tasks, the oldest first, may start now; at most `most` run at once."""

    def is_alone(need: Need) -> bool:
        return need.alone or need.bytes > budget_bytes

    if any(is_alone(need) for need in running):
        return 0
    total, count = sum(need.bytes for need in running), 0
    for need in waiting:
        beside = len(running) + count
        if beside >= most or (beside and (is_alone(need) or total + need.bytes > budget_bytes)):
            break
        total, count = total + need.bytes, count + 1
        if is_alone(need):
            break
    return count


def most_workers(need_bytes: int, size: int, budget_of: Callable[[int], int]) -> int:
    """Return how many of `size` workers may exist while a task runs; `budget_of(n)`: bytes for tasks beside n."""
    return next((n for n in range(size, 1, -1) if need_bytes <= budget_of(n)), 1)


class Fewer:
    """How many of `size` workers may exist: the fewest that a task of now, or of the last `FEW_S`, asked for."""

    def __init__(self, size: int) -> None:
        self._size, self._most, self._until = size, size, 0.0

    def resize(self, size: int) -> None:
        """There are so many workers from now on; what tasks ask for is asked anew."""
        self._size, self._most, self._until = size, size, 0.0

    def most(self, now: float, asked: Iterable[int]) -> int:
        """Return the number at this time; `asked`: what each task of now asks for (`most_workers`)."""
        if now >= self._until:
            self._most = self._size
        fewest = min(asked, default=self._size)
        if fewest <= self._most:
            self._most, self._until = fewest, now + FEW_S
        return self._most


class Easing:
    """How many of `size` workers may exist, after kills by the kernel."""

    def __init__(self, size: int) -> None:
        self._size, self._most, self._since = size, size, 0.0

    def most(self, now: float) -> int:
        """Return the number at this time."""
        return min(self._size, self._most + int((now - self._since) / QUIET_S))

    def resize(self, size: int) -> None:
        """There are so many workers from now on; after kills they still become more by one a minute."""
        if self._most >= self._size:
            self._most = size
        self._size, self._most = size, min(self._most, size)

    def killed(self, now: float) -> None:
        """The kernel has killed a worker for lack of memory."""
        self._most, self._since = max(1, self.most(now) // 2), now


def kept_bytes(limit: int, workers: int) -> int:
    """Return what a worker may keep between tasks (tuning.md, "kept memory"): less under a small limit (0: none)."""
    return min(KEPT_BYTES, limit // (16 * workers)) if limit else KEPT_BYTES


def budget_bytes(limit: int, workers: int, worker_bytes: int, alive: int) -> int:
    """Return what all tasks together may add, under a limit on the service's memory (0: none).

    `alive` of the `workers` exist; `worker_bytes`: WORKER_MEMORY_BYTES.
    """
    if not limit:
        return workers * worker_bytes
    idle = SUPERVISOR_BYTES + alive * (WORKER_BYTES + kept_bytes(limit, workers))
    return max(TASK_BYTES, round(limit * (1 - STAGED_SHARE)) - idle)


def wanted_bytes(workers: int) -> int:
    """Return the least memory limit under which so many workers can be busy with large camera photos (24 megapixels).

    Supervisor, staged photos, and for each worker what is resident and an optimised copy. tuning.md "memory of a task".
    """
    photo = need_of(Header(format="jpeg", width=6000, height=4000), 1, 0).bytes
    return round((SUPERVISOR_BYTES + workers * (WORKER_BYTES + photo)) / (1 - STAGED_SHARE))


def staged_bytes(limit: int, wanted: int) -> int:
    """Return how many photo bytes may lie in shared memory, of the `wanted` ones (MAX_INFLIGHT_BYTES)."""
    return min(wanted, round(limit * STAGED_SHARE)) if limit else wanted
