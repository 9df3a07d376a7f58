"""Which neighbours the line of a job has, and how each is probed."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from fastproc.core.breaker import Rules
from fastproc.core.errors import DatabaseUnavailable, StorageUnavailable
from fastproc.supervisor.neighbours import Neighbour
from fastproc.supervisor.outage_log import OutageLog
from fastproc.supervisor.ports import MetadataStore, ObjectStore


class Guards(Struct, frozen=True):
    """The neighbours of the job line, by what it does with them: fetch photos, store renditions, write rows."""

    reads: Neighbour
    writes: Neighbour
    rows: Neighbour

    @property
    def all(self) -> tuple[Neighbour, ...]:
        """Every neighbour, once."""
        return self.reads, self.writes, self.rows

    def timed(self, step: Callable[[str], Callable[[float], None]]) -> None:
        """Tell the seconds of each answer; `step` names whom to tell."""
        for name, guard in {"fetch": self.reads, "upload": self.writes, "row": self.rows}.items():
            guard.on_answer = step(name)


def guards(objects: ObjectStore, metadata: MetadataStore, rules: Rules | None = None) -> Guards:
    """Return the guards of a service's stores."""

    async def upload_probe(deep: bool) -> bool:
        # It writes nothing, so it cannot see whether uploads pass.
        await objects.probe(deep)
        return False

    async def row_probe(deep: bool) -> bool:
        await metadata.probe(deep)
        return deep

    storage = OutageLog("storage", objects.endpoint)
    uploads = "the object store (uploads)"
    database = OutageLog("database", metadata.endpoint)
    return Guards(
        reads=Neighbour("the object store", StorageUnavailable, objects.probe, rules, outages=storage),
        writes=Neighbour(uploads, StorageUnavailable, upload_probe, rules, looks=False, outages=storage),
        rows=Neighbour("the database", DatabaseUnavailable, row_probe, rules, outages=database),
    )
