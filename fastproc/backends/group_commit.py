"""Group commit: rows that wait are written in one transaction, so that one fsync pays for all of them.

Rule 1: what arrives while one transaction runs goes into the next one, together and in order.
Rule 2: a row that the database refuses (RowRefused), or whose statement fails, fails alone; when a whole transaction
        fails, every row in it does (DatabaseUnavailable).
Rule 3: a transaction begins at once where the last one is `pace_s` ago; where rows follow each other faster, they wait
        for each other so long. An idle service's row never waits.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from fastproc.backends.photo_row import Value
from fastproc.core.errors import DatabaseUnavailable, RowRefused


class RowBusy(DatabaseUnavailable):
    """Another session holds the row."""


class Write(Struct):
    """One row to write, and the future of the caller that waits.

    `refused` says why the database does not take it; `failed` what went wrong with this row alone, which may pass;
    `busy`: another session holds the row, and it may be tried again soon;
    `rowless`: there is no row and none can be made, which fails nothing (the API owns the schema). After `by`
    (monotonic seconds) nothing is written, and `late` is called: the job may be another service's. A row that is not
    `lasting` may be lost with the machine's power, not with the process: its job is then run again.
    """

    photo_id: str
    values: Mapping[str, Value]
    done: asyncio.Future[None]
    refused: str = ""
    failed: str = ""
    busy: str = ""
    rowless: bool = False
    by: float = math.inf
    lasting: bool = True

    def late(self) -> None:
        """The write was not done, because its time is over."""
        self.failed = f"the row of photo {self.photo_id} was not written: its job's lock must have run out"

    @property
    def left_out(self) -> bool:
        """Whether the row is not to be tried again in its transaction."""
        return bool(self.refused or self.failed or self.busy or self.rowless)


#: Writes the rows in one transaction and marks those that are left out; raises what `describe` reads.
Commit = Callable[[Sequence[Write]], Awaitable[None]]


class GroupCommit:
    """Collects rows and hands them to `commit`; `describe` puts a driver's exception into words."""

    def __init__(self, commit: Commit, describe: Callable[[Exception], str], pace_s: float = 0.0) -> None:
        self._commit, self._describe, self._pace_s = commit, describe, pace_s
        #: When the next transaction may begin, in monotonic seconds.
        self._next_at = -math.inf
        self._waiting: list[Write] = []
        self._drainer: asyncio.Task[None] | None = None
        self._closed = False

    async def write(
        self, photo_id: str, values: Mapping[str, Value], *, by: float, lasting: bool = True
    ) -> None:
        """Write one row; return after its commit. Raises RowRefused, RowBusy, DatabaseUnavailable."""
        if self._closed:
            raise DatabaseUnavailable("the database was closed: the service is ending")
        done = asyncio.get_running_loop().create_future()
        write = Write(photo_id, values, done, by=by, lasting=lasting)
        self._waiting.append(write)
        if self._drainer is None:
            self._drainer = asyncio.create_task(self._drain(), name="commits")
        await write.done

    async def close(self) -> None:
        """Commit what was accepted; accept no more. Idempotent."""
        self._closed = True
        while self._drainer is not None:
            await asyncio.wait([self._drainer])

    async def _drain(self) -> None:
        while self._waiting:
            if (pause_s := self._next_at - time.monotonic()) > 0:
                await asyncio.sleep(pause_s)
            self._next_at = time.monotonic() + self._pace_s
            batch, self._waiting = self._waiting, []
            away = ""
            try:
                await self._commit(batch)
            except Exception as error:  # Whatever it was, the jobs that wait must hear of it.
                away = self._describe(error)
            for write in (write for write in batch if not write.done.done()):  # Some jobs were cancelled.
                _end(write, away)
        self._drainer = None


def _end(write: Write, away: str) -> None:
    if write.refused:
        write.done.set_exception(RowRefused(write.refused))
    elif write.busy:
        write.done.set_exception(RowBusy(write.busy))
    elif away or write.failed:
        write.done.set_exception(DatabaseUnavailable(away or write.failed))
    else:
        write.done.set_result(None)
