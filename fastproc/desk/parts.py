"""What the desk of one supervisor asks and orders of: the outside by protocols, so that `app` puts it together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from fastproc.core.acts import Act, Outcome
from fastproc.core.job_view import Found, JobRow
from fastproc.core.snapshot import QueueNow, Snapshot
from fastproc.supervisor.failures import Failures
from fastproc.supervisor.ports import ObjectStore, Vault


class Orders(Protocol):
    """What the queue and the hosts know and do."""

    async def now(self) -> QueueNow:
        """Return how the queue is. Raises QueueUnavailable."""

    async def hosts(self) -> Sequence[Snapshot]:
        """Return what every supervisor of the queue says of itself. Raises QueueUnavailable."""

    async def find(self, text: str) -> Found:
        """Look a job up. Raises QueueUnavailable."""

    async def jobs(self, state: str, code: str, limit: int) -> Sequence[JobRow]:
        """Return the newest jobs. Raises QueueUnavailable."""

    async def count(self, code: str) -> int:
        """Return how many failed jobs have the code. Raises QueueUnavailable."""

    async def act(self, act: Act, by: str) -> Outcome:
        """Do an act on the queue, or on hosts. Raises FastprocError."""


class Parts(Struct, frozen=True, kw_only=True):
    """What is started: the desk asks them, and closes none."""

    orders: Orders
    gather: Callable[[], Snapshot]
    objects: ObjectStore
    failures: Failures
    vault: Vault | None
