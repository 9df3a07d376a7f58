"""The outside as the line of a job sees it: every port, and the workers."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct, field

from fastproc.core.keys import Results
from fastproc.supervisor.book_ports import Tracer
from fastproc.supervisor.books import Books
from fastproc.supervisor.evidence import Quarantine
from fastproc.supervisor.ports import EventSink, MetadataStore, ObjectStore, Queue
from fastproc.supervisor.workers.loans import Loan
from fastproc.supervisor.workers.task import OnStage, Result


class Workers(Protocol):
    """What the line needs of the pool."""

    def lend(self, photo: str) -> AbstractAsyncContextManager[Loan]:
        """Lend shared memory for the photo of this id. Raises NeighbourAway where the kernel refuses it."""

    async def run(self, loan: Loan, content_type: str | None, on_stage: OnStage) -> Result:
        """Process the photo on loan."""


class Ports(Struct, frozen=True):
    """The outside, as the line sees it; `results`: where in the object store results go."""

    queue: Queue
    objects: ObjectStore
    metadata: MetadataStore
    events: EventSink
    workers: Workers
    quarantine: Quarantine = Quarantine()
    results: Results = Results()
    books: Books = field(default_factory=Books)
    tracer: Tracer | None = None
