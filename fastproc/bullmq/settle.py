"""Who owns a job: the jobs in hand, and what became of a move or a fetch whose reply never came.

Rule 1: a job in hand is known by its id and its lock's token together, as the lock is. One id can be in hand twice
        (removed and added again, or stolen and returned, while its first run goes on), and one token locks one job
        after another.
Rule 2: a move whose reply never came is settled by reading where the job stands, and sent again, after a pause, only
        when it is certain that it has not happened. Of a move that Redis has refused this is certain without reading.
Rule 3: a fetch whose reply never came may have given us a job that we do not know of, a stray. Before the next fetch,
        active jobs that have a lock of ours and are not in hand go back to the queue.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum

from fastproc.bullmq.client import Client
from fastproc.bullmq.outage import retry_pause_s
from fastproc.bullmq.protocol import Fetched, Standing
from fastproc.core.errors import LockLost, QueueRefused, QueueUnavailable
from fastproc.core.fields import fields, of_job
from fastproc.core.model import Job

log = logging.getLogger(__name__)

#: Makes a move; its argument says whether to fetch the next job in the same step.
Move = Callable[[bool], Awaitable[Fetched]]


class Settled(Enum):
    """What is known at last of a move that was never confirmed."""

    DONE = "it has happened"
    NOT_DONE = "it has not happened"
    LOST = "somebody else has the job"


def settle(standing: Standing, token: str, *, finishing: bool, removed: bool) -> Settled:
    """Judge a move whose reply never came. Every script takes the lock away before anything else.

    `finishing`: the move was to completed or failed; `removed`: such a job is deleted. After a retry it does not
    matter who has the job now: it is queued, or somebody's, and not ours.
    """
    if standing.lock == token:
        return Settled.NOT_DONE
    if not finishing or standing.finished or (removed and not standing.exists):
        return Settled.DONE
    return Settled.LOST


def calls_without_doubles(jobs: Iterable[Job]) -> list[list[Job]]:
    """Part the jobs so that no id is in one call twice: a script that answers with ids could mean either job."""
    calls: list[dict[str, Job]] = []
    for job in jobs:
        free = next((call for call in calls if job.id not in call), None)
        if free is None:
            calls.append(free := {})
        free[job.id] = job
    return [list(call.values()) for call in calls]


class JobsInHand:
    """The jobs that this worker has taken and not ended. `worker_id` begins every token, and is no other worker's."""

    def __init__(self, client: Client, worker_id: str) -> None:
        self._client, self._worker_id = client, worker_id
        self._numbers = itertools.count()
        self._locks: set[tuple[str, str]] = set()
        self._strays_possible = False

    @property
    def count(self) -> int:
        """Jobs in hand."""
        return len(self._locks)

    def new_token(self) -> str:
        """Return a lock token that was never used."""
        return f"{self._worker_id}:{next(self._numbers)}"

    def add(self, job_id: str, token: str) -> None:
        """The job was given to us, locked with this token."""
        self._locks.add((job_id, token))

    def remove(self, job_id: str, token: str) -> None:
        """The job is not ours any more. Idempotent."""
        self._locks.discard((job_id, token))

    def fetch_unanswered(self) -> None:
        """A fetch was sent whose reply never came."""
        self._strays_possible = True

    async def move(
        self, job: Job, make: Move, *, fetch_next: bool, finishing: bool, removed: bool = False
    ) -> Fetched | None:
        """End our hold on the job by a move that happens once; return what it fetched, where it was asked to.

        `finishing`, `removed`: see `settle`. None as well where the reply was lost, and with it what it brought.
        Raises: LockLost; Refused, with the job still in hand.
        """
        failures = 0
        while True:
            try:
                fetched = await make(fetch_next)
            except QueueUnavailable as error:
                if failures == 0 and isinstance(error, QueueRefused) and not self._client.outage.why:
                    # No outage, which would be in the log, but a job that Redis' script stumbles over.
                    log.warning("the outcome of its end is unknown: %s", error, extra=of_job(job))
                settled = await self._settled(job, error, fetch_next, finishing, removed)
            except asyncio.CancelledError:
                if fetch_next:
                    self.fetch_unanswered()
                raise
            except LockLost:
                self.remove(job.id, job.token)
                raise
            else:
                self.remove(job.id, job.token)
                return fetched if fetch_next else None
            if settled is not Settled.NOT_DONE:
                self.remove(job.id, job.token)
                if settled is Settled.LOST:
                    raise LockLost(f"job {job.id}: somebody else has it, or it stalled") from None
                return None
            fetch_next, failures = False, failures + 1
            await asyncio.sleep(retry_pause_s(failures))

    async def give_back(self, job: Job) -> None:
        """Put the job back to the head of the queue; no attempt is counted. Raises LockLost, QueueUnavailable."""
        self.remove(job.id, job.token)
        await self._client.move_to_wait(job.id, job.token)

    async def put_aside(self, job: Job, delay_ms: int) -> None:
        """Delay the job; no attempt is counted. Raises LockLost, QueueUnavailable."""
        self.remove(job.id, job.token)
        await self._client.delay_uncounted(job.id, job.token, delay_ms)

    async def extend_locks(self, jobs: Sequence[Job]) -> list[Job]:
        """Renew the jobs' locks; return those that are not ours any more. Raises QueueUnavailable."""
        calls = calls_without_doubles(jobs)
        replies = await asyncio.gather(
            *(
                self._client.extend_locks([job.token for job in call], [job.id for job in call])
                for call in calls
            )
        )
        lost = [
            job for call, lost_ids in zip(calls, replies, strict=True) for job in call if job.id in lost_ids
        ]
        for job in lost:
            self.remove(job.id, job.token)
        return lost

    async def give_back_strays(self) -> None:
        """Put strays back to the queue, where there can be any. Raises QueueUnavailable: then they still can."""
        if not self._strays_possible:
            return
        for job_id, token in (await self._client.active_locks()).items():
            if token.startswith(f"{self._worker_id}:") and (job_id, token) not in self._locks:
                try:
                    await self._client.move_to_wait(job_id, token)
                    log.debug(
                        "a fetch without a reply gave it to us; it goes back", extra=fields(jobId=job_id)
                    )
                except LockLost as lost:
                    log.debug("a stray that is not ours any more: %s", lost, extra=fields(jobId=job_id))
        self._strays_possible = False

    async def _settled(
        self, job: Job, error: QueueUnavailable, fetch_next: bool, finishing: bool, removed: bool
    ) -> Settled:
        """Find out what became of a move that has ended in `error`."""
        if isinstance(error, QueueRefused) and not error.in_part:
            return Settled.NOT_DONE
        if fetch_next:
            self.fetch_unanswered()
        standing = await self._standing(job)
        settled = settle(standing, job.token, finishing=finishing, removed=removed)
        log.debug("%s", settled.value, extra=of_job(job))
        return settled

    async def _standing(self, job: Job) -> Standing:
        failures = 0
        while True:
            try:
                return await self._client.standing(job.id)
            except QueueUnavailable:
                failures += 1
                await asyncio.sleep(retry_pause_s(failures))
