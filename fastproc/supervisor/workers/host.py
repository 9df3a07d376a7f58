"""What the host gives the pool beside workers: a memory budget, the count of the kernel's kills, its refusals."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from fastproc.core.errors import NeighbourAway

#: Seconds for which a job stays aside that could not be run because of the kernel.
ASIDE_S = 1.0


def _refused(why: str) -> NeighbourAway:
    return NeighbourAway(f"the kernel refuses {why}", ASIDE_S)


class Host(Struct, frozen=True, kw_only=True):
    """`budget_of(n)`: bytes for all tasks together, beside n workers.

    `oom_kills` counts the kernel's kills in the service's cgroup, where they can be seen (`sees_kills`). `refused` is
    called when the kernel refused something, and returns what a job that needed it ends with.
    """

    budget_of: Callable[[int], int] = lambda _workers: 1 << 62
    oom_kills: Callable[[], int] = lambda: 0
    sees_kills: bool = False
    refused: Callable[[str], NeighbourAway] = _refused
