"""What the books of a service need of the outside: where failures are counted, defects reported, traces sent.

None of them ever fails a job, or holds one up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fastproc.core.defects import Defect
from fastproc.core.failures import Failure
from fastproc.core.timeline import Timeline


class FailureStore(Protocol):
    """Failures by code of all services together, kept for some days."""

    async def add(self, failures: Sequence[Failure]) -> None:
        """Add the counts. Raises QueueRefused where nothing was added, QueueUnavailable where nobody knows."""

    async def read(self) -> list[Failure]:
        """Return a row a code. Raises QueueUnavailable."""


class Reporter(Protocol):
    """Takes what nobody expected to where a team looks. It never raises, and never waits."""

    def report(self, found: Defect, count: int) -> None:
        """Accept a defect that was seen so often; it is delivered soon, or not at all. Called from any thread."""

    async def close(self) -> None:
        """Deliver what was accepted, for a moment, then close. Idempotent."""


class Tracer(Protocol):
    """Takes what became of each job to where a team looks at traces. It never raises, and never waits."""

    def ended(self, timeline: Timeline) -> None:
        """Accept one attempt's timeline; its spans are delivered soon, or not at all."""

    async def close(self) -> None:
        """Deliver what was accepted, for a moment, then close. Idempotent."""
