"""One job of the queue as an operator sees it: a row of a list, or all that is known of it.

Rule 1: times are ms of the wall clock, 0 for what has not happened.
Rule 2: texts come from strangers (producers, workers): whoever shows them keeps control characters out.
"""

from __future__ import annotations

from msgspec import Struct

from fastproc.core.model import Json

#: The states of a job, in BullMQ's words, in the order of its life.
STATES = ("waiting", "prioritized", "delayed", "waiting-children", "active", "completed", "failed")


class JobRow(Struct, frozen=True, kw_only=True):
    """A job in a list. `state`: one of STATES, or `unknown`; `photo` and `key` are "" where its data have none.

    `attempts`: those that it may have, 0: as WORKER_MAX_RETRIES says; `due_at_ms`: when a delayed job is; `code`,
    `reason`: why it failed, at last; `worker`: the name of the one that took it; `cancel`: why it shall end, if it has
    been told to and has not ended yet.
    """

    id: str
    state: str
    photo: str = ""
    key: str = ""
    attempts_made: int = 0
    attempts: int = 0
    added_at_ms: int = 0
    due_at_ms: int = 0
    taken_at_ms: int = 0
    ended_at_ms: int = 0
    progress: float = 0.0
    code: str = ""
    reason: str = ""
    worker: str = ""
    cancel: str = ""


class StageTime(Struct, frozen=True):
    """A stage and the wall time that it took, of the newest attempt that came so far."""

    stage: str
    ms: float


class RenditionAt(Struct, frozen=True, kw_only=True):
    """A picture that the job made: where it is in the object store. Sizes are 0 where the return value has none."""

    name: str
    key: str
    url: str = ""
    width: int = 0
    height: int = 0
    size: int = 0


class JobDetail(JobRow, frozen=True, kw_only=True):
    """All that is known of a job. `bucket`: "" for MINIO_BUCKET; `stack`: an entry an attempt, the oldest first.

    `scheduler`, `parent`: which made it, or waits for it; `children`: jobs that it waits for; `others`: further jobs of
    the same photo that were met on the way.
    """

    name: str = ""
    bucket: str = ""
    client_id: str = ""
    session_id: str = ""
    priority: int = 0
    stack: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    stages: tuple[StageTime, ...] = ()
    warnings: tuple[str, ...] = ()
    renditions: tuple[RenditionAt, ...] = ()
    return_value: Json = None
    scheduler: str = ""
    parent: str = ""
    children: int = 0
    others: tuple[str, ...] = ()


class Found(Struct, frozen=True, kw_only=True):
    """What a look-up brought. `looked`: jobs whose photo was compared; `whole`: these were all jobs of the queue."""

    job: JobDetail | None
    looked: int = 0
    whole: bool = True
