"""BullMQ's wire, pure: key names, the order of keys and arguments of each script, replies, error codes.

Rule 1: the keys and the arguments of a script are made here, and sent by `client`. The scripts whose few arguments are
        all plain (moveJobFromActiveToWait, moveStalledJobsToWait) get them from there.
Rule 2: the number of a script's keys comes from its file name, and picks the layout (`layouts`).
Rule 3: times are integer ms of the caller's wall clock. Blobs are MessagePack, never with bytes, which Redis'
        cmsgpack refuses, nor with nil at the top of a map. A scheduler's options go as its application wrote them.
Source: the scripts' own headers, as shipped in the PyPI package `bullmq`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from fastproc.bullmq.layouts import LAYOUTS
from fastproc.core.model import Keep

Arg = str | bytes | int

#: Negative replies, in the words that the official worker puts into `failedReason`.
#: Source: BullMQ src/enums/error-code.ts, src/classes/finished-errors.ts.
ERRORS: Final = {
    -1: "Missing key for job {job}. {script}",
    -2: "Missing lock for job {job}. {script}",
    -3: "Job {job} is not in the active state. {script}",
    -4: "Job {job} has pending dependencies. {script}",
    -6: "Lock mismatch for job {job}. Cmd {script} from active",
    -9: "Cannot complete job {job} because it has at least one failed child. {script}",
}
#: Minutes that `queue.getMetrics` can show; two weeks, as BullMQ's MetricsTime.TWO_WEEKS.
METRICS_MINUTES: Final = 14 * 24 * 60

#: Replies which mean that the job is not ours any more.
NOT_OURS: Final = frozenset({-1, -2, -3, -6})

SCRIPTS: Final = tuple(sorted({name for name, _ in LAYOUTS}))  # those that this consumer calls or mirrors


class Keys:
    """A queue's keys: `<prefix>:<queue>:<suffix>`."""

    def __init__(self, prefix: str, queue: str) -> None:
        self.base = f"{prefix}:{queue}:"
        #: What Queue.getWorkers() of BullMQ looks for among the clients' names.
        self.client_name = f"{prefix}:{base64.b64encode(queue.encode()).decode()}"

    def __call__(self, suffix: str) -> str:
        return self.base + suffix

    def of_script(self, name: str, arity: int, job_id: str = "", target: str = "") -> list[str]:
        """Return the script's keys in their order. Raises KeyError for a layout that is not known."""
        fill = {"job": job_id, "target": target}
        return [self.base + (key.format_map(fill) if "{" in key else key) for key in LAYOUTS[name, arity]]


def knows(name: str, arity: int) -> bool:
    """Whether the layout of this script is known."""
    return (name, arity) in LAYOUTS


class Fetched(Struct, frozen=True, kw_only=True):
    """What a fetch brought: a job's id and hash, or when to ask again.

    `limit_ms` is relative: for how long not to fetch. `next_at_ms` is absolute: when the next delayed job is due.
    """

    job_id: str | None = None
    fields: Mapping[str, bytes] = {}
    limit_ms: int = 0
    next_at_ms: int = 0


def read_fetched(reply: Any) -> Fetched:
    """Read the reply of moveToActive, or of moveToFinished and moveToDelayed with fetch-next.

    Shapes: `[flat, id, 0, 0]` a job, `[0, 0, ttl, 0]` rate limited, `[0, 0, 0, ts]` nothing due before `ts`,
    `[0, 0, 0, 0]` or `0` nothing.
    """
    if not isinstance(reply, list) or not reply:
        return Fetched()
    flat = reply[0]
    if isinstance(flat, list):
        pairs = zip(flat[::2], flat[1::2], strict=True)
        fields = {text(name): value for name, value in pairs}
        return Fetched(job_id=text(reply[1]), fields=fields)
    return Fetched(limit_ms=max(0, int(reply[2])), next_at_ms=max(0, int(reply[3])))


class Standing(Struct, frozen=True):
    """Where a job stands whose move was never confirmed: its lock's token, its key, and whether it is finished."""

    lock: str | None
    exists: bool
    finished: bool


def refusal(job_id: str, code: int, script: str) -> str:
    """Return what a script's negative reply means, in BullMQ's words."""
    return ERRORS.get(code, "Unknown code {code} for job {job}. {script}").format(
        job=job_id, code=code, script=script
    )


def text(value: bytes | str) -> str:
    """Return a reply's bytes as text; what is not UTF-8 is replaced, so that it can be shown. Never raises."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def pack(value: Any) -> bytes:
    """Return the MessagePack blob of an argument; entries of a map that are None are left out, as absent."""
    if isinstance(value, Mapping):
        value = {name: item for name, item in value.items() if item is not None}
    return msgspec.msgpack.encode(value)


def keep_map(keep: Keep) -> dict[str, float]:
    """Return the map `keepJobs`: without it a script fails with the lock already gone."""
    limits = {"count": keep.count, "age": keep.age, "limit": keep.limit}
    return {name: value for name, value in limits.items() if value is not None} or {"count": -1}


def clean(message: str) -> str:
    """Return the text with lone surrogates replaced, which neither MessagePack nor Redis takes."""
    return message.encode("utf-8", "replace").decode()


class Fetch(Struct, frozen=True, kw_only=True):
    """What a script that fetches must know: the lock of the next job, and the worker's name for `processedBy`."""

    token: str
    lock_duration_ms: int
    name: str

    def options(self) -> dict[str, Any]:
        return {"token": self.token, "lockDuration": self.lock_duration_ms, "name": self.name}


def move_to_active(keys: Keys, now_ms: int, fetch: Fetch) -> list[Arg]:
    return [keys.base, now_ms, pack(fetch.options())]


def move_to_finished(
    keys: Keys, now_ms: int, fetch: Fetch, *, job_id: str, outcome: Outcome, fetch_next: bool
) -> list[Arg]:
    """`fetch` has the job's own token, which locks the next job too, as Node does."""
    options = fetch.options() | {
        "keepJobs": keep_map(outcome.keep),
        "attempts": outcome.attempts,
        # Required: without it, later calls would fail half-way.
        "maxMetricsSize": METRICS_MINUTES,
    }
    field = "returnvalue" if outcome.target == "completed" else "failedReason"
    args: list[Arg] = [job_id, now_ms, field, clean(outcome.value), outcome.target]
    args += [1 if fetch_next else 0, keys.base, pack(options)]
    return [*args, flat_fields(outcome.fields)] if outcome.fields else args


class Outcome(Struct, frozen=True, kw_only=True):
    """How a job ends: target `completed` or `failed`, its value (JSON or plain text), what is kept, hash fields."""

    target: str
    value: str
    keep: Keep
    attempts: int
    fields: Mapping[str, str] = {}


def move_to_delayed(
    keys: Keys,
    now_ms: int,
    fetch: Fetch,
    *,
    job_id: str,
    delay_ms: int,
    fields: Mapping[str, str],
    fetch_next: bool,
    skip_attempt: bool = False,
) -> list[Arg]:
    """`skip_attempt`: the attempt is not counted."""
    skip = "1" if skip_attempt else "0"
    args: list[Arg] = [keys.base, now_ms, job_id, fetch.token, delay_ms, skip, flat_fields(fields)]
    return [*args, 1 if fetch_next else 0, pack(fetch.options())]


def retry_job(
    keys: Keys, now_ms: int, *, job_id: str, token: str, first: bool, fields: Mapping[str, str]
) -> list[Arg]:
    return [keys.base, now_ms, "RPUSH" if first else "LPUSH", job_id, token, flat_fields(fields)]


def extend_locks(keys: Keys, tokens: Sequence[str], job_ids: Sequence[str], duration_ms: int) -> list[Arg]:
    return [keys.base, pack(list(tokens)), pack(list(job_ids)), duration_ms]


def update_job_scheduler(
    keys: Keys,
    now_ms: int,
    *,
    scheduler_id: str,
    next_ms: int | None,
    data: str,
    options: Mapping[str, Any],
    job_id: str,
) -> list[Arg]:
    """`options` are the next job's; `job_id` is the current one's, which makes a repeated call harmless."""
    at: Arg = "" if next_ms is None else next_ms
    return [at, scheduler_id, clean(data), pack(options), now_ms, keys.base, job_id]


def flat_fields(fields: Mapping[str, str]) -> bytes:
    """Return the blob of fields to set; an empty one sets nothing."""
    flat = [part for pair in fields.items() for part in (pair[0], clean(pair[1]))]
    return pack(flat) if flat else b""
