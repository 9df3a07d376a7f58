"""Keeps photos that ended their worker, with what is known of it, so that a person can repeat it.

Rule 1: nothing here fails or delays a job for long: evidence that cannot be kept is a line in the log.
Rule 2: kept at every death, the second over the first: the service may be gone before the photo is called poison.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastproc.core import record, retry
from fastproc.core.errors import TaskError
from fastproc.core.evidence import ID_CHARS, Death, Evidence
from fastproc.core.fields import of_job
from fastproc.core.model import Job
from fastproc.supervisor.ports import Vault
from fastproc.supervisor.seldom import Seldom
from fastproc.supervisor.workers.loans import Loan

log = logging.getLogger(__name__)

#: Longest wait for a disk or a store; meanwhile the job keeps its lock and its slot.
KEEP_S = 20.0
#: Between two looks for what is too old.
SWEEP_S = 3600.0


class Quarantine:
    """Photos that ended their worker, in a vault; without one, nothing is kept."""

    def __init__(self, vault: Vault | None = None) -> None:
        self._vault = vault
        self._hinted, self._seldom = False, Seldom(log)
        #: Photos, not deaths: one poison photo is kept twice.
        self.kept = 0

    async def prepare(self) -> None:
        """Raises ConfigError where nothing could be kept."""
        if self._vault:
            await self._vault.prepare()

    async def tend(self) -> None:
        """Remove what is too old, at intervals, without end."""
        while True:
            try:
                if self._vault:
                    await self._vault.sweep()
            except Exception as error:
                log.warning("quarantine: cannot be swept: %s: %s", type(error).__name__, error)
            await asyncio.sleep(SWEEP_S)

    @asynccontextmanager
    async def watch(self, job: Job, loan: Loan) -> AsyncIterator[None]:
        """Keep the photo on loan if the block ends with its worker's death."""
        try:
            yield
        except TaskError as error:
            if error.death:
                # The memory is lent again when the loan ends, so the bytes are copied before anything waits.
                await self._keep(job, error, error.death, bytes(loan.target[: loan.size]))
            raise

    async def _keep(self, job: Job, error: TaskError, death: Death, photo: bytes) -> None:
        if self._vault is None:
            if not self._hinted:
                log.warning("a photo ended its worker; set QUARANTINE to have such photos kept")
            self._hinted = True
            return
        try:
            async with asyncio.timeout(KEEP_S):
                evidence = await asyncio.to_thread(_evidence, job, error, death, photo)
                await self._vault.keep(evidence, photo)
            self.kept += evidence.deaths == 1
            log.warning("its photo is in quarantine as %s", evidence.id, extra=of_job(job))
        except Exception as trouble:
            words = "its photo cannot be kept: %s: %s"
            self._seldom.warn(words, type(trouble).__name__, trouble, extra=of_job(job))


def _evidence(job: Job, error: TaskError, death: Death, photo: bytes) -> Evidence:
    end = retry.final_error(job, error)
    sha256 = hashlib.sha256(photo).hexdigest()
    return Evidence(
        id=sha256[:ID_CHARS],
        sha256=sha256,
        size=len(photo),
        at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        job_id=job.id,
        photo_id=job.photo_id,
        bucket=job.bucket,
        s3_key=job.s3_key,
        attempt=job.attempt,
        deaths=job.deaths + 1,
        code=end.code,
        reason=end.reason[: record.MAX_REASON_CHARS],
        death=death,
    )
