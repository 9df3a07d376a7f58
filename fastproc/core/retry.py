"""Whether and when a failed attempt is tried again. Pure: the caller passes the random number.

Rule 1: the job's own `attempts` and `backoff` decide; a job without a backoff is retried immediately. (Where it names
        no attempts, `bullmq.decode` has set WORKER_MAX_RETRIES.)
Rule 2: an error that is not retryable is not retried, whatever attempts are left.
Rule 3: a photo that killed its worker twice is the suspect: it ends as POISON_PHOTO, whatever attempts are left.
Source: BullMQ src/classes/job.ts shouldRetryJob, src/classes/backoffs.ts.
"""

from __future__ import annotations

import math
from typing import Final

from fastproc.core.errors import DEADLY, PoisonPhoto, TaskError
from fastproc.core.model import Backoff, Decision, GiveUp, Job, Retry

#: Worker deaths by one photo after which it is not tried again. Source: docs/contract.md, Errors.
POISON_DEATHS: Final = 2

#: Longest delay, 35 years: far beyond any use, and no arithmetic on it overflows.
MAX_DELAY_MS: Final = 2**40


def backoff_ms(backoff: Backoff, attempt: int, dice: float) -> int:
    """Return the ms to wait after failed attempt number `attempt` (1-based); `dice` is uniform in [0, 1).

    An unknown kind waits the plain delay: Node would throw while it handles the failure, and the job would stall.
    """
    delay = backoff.delay_ms
    if not math.isfinite(delay) or delay <= 0:
        return 0
    delay = min(delay, MAX_DELAY_MS)  # A producer's number must not overflow below.
    if backoff.kind == "exponential":
        delay *= 2.0 ** min(attempt - 1, 60)
    if backoff.jitter > 0:
        jitter = min(backoff.jitter, 1.0)
        delay = math.floor(dice * delay * jitter + delay * (1 - jitter))
    return min(round(delay), MAX_DELAY_MS)


def final_error(job: Job, error: TaskError) -> TaskError:
    """Return the error that the attempt ends with: `error`, or POISON_PHOTO by rule 3."""
    if error.code in DEADLY and job.deaths + 1 >= POISON_DEATHS:
        return PoisonPhoto(f"the photo ended its worker {job.deaths + 1} times, at last with {error.reason}")
    return error


def decide(job: Job, error: TaskError, dice: float) -> Decision:
    """Return Retry with its delay, or GiveUp. Call it with the error that `final_error` returned."""
    if not error.retryable:
        return GiveUp("not retryable")
    if job.backoff is not None and job.backoff.delay_ms == -1:
        return GiveUp("the backoff says so")
    if job.attempt >= job.attempts:
        return GiveUp("attempts exhausted")
    return Retry(backoff_ms(job.backoff, job.attempt, dice) if job.backoff else 0)
