"""From a job's hash to a Job: total, whatever the hash holds.

Rule 1: nothing here raises. What is wrong with the data becomes the job's fault, and the rest is still read, so that
        the job can be failed by its own rules: Node's and Python's workers loop forever on a hash they cannot parse.
Rule 2: a deferred failure (`defa`) takes precedence over every other fault: the job must fail with that text; then
        comes an operator's order to cancel the job.
Rule 3: an option that makes no sense counts as not given; options that are not an object fail the job.
Contract: design.md, Job. Fields and options of the hash: BullMQ src/classes/job.ts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from fastproc.bullmq import cancelling
from fastproc.bullmq.protocol import text
from fastproc.core.errors import DEADLY, BucketNotAllowed, Cancelled, InvalidJob, TaskError
from fastproc.core.model import Backoff, Fault, Job, Keep
from fastproc.core.naming import SAFE_NAME

#: The contract's data has some 200 bytes. More than this is not parsed, so that no job can keep the supervisor busy.
MAX_DATA_BYTES: Final = 64 << 10
#: S3's own limit.
MAX_KEY_BYTES: Final = 1024
MAX_ECHO_CHARS: Final = 256
#: A traceparent has 55 characters, a tracestate at most 512 that must be handed on, baggage 8192 (W3C).
MAX_TRACE_CONTEXT_CHARS: Final = 10_000
#: JavaScript's and Lua's largest exact integer. What is larger makes no sense, and MessagePack or float() would raise.
MAX_NUMBER: Final = 2**53 - 1
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Defaults(Struct, frozen=True, kw_only=True):
    """What a job gets where it names nothing itself. The two `keep` are those of the reference deployment."""

    bucket: str
    buckets: tuple[str, ...]
    attempts: int
    keep_completed: Keep = Keep(age=24 * 3600, count=1000)
    keep_failed: Keep = Keep(age=7 * 24 * 3600)


class _Data(Struct, kw_only=True, rename="camel"):
    photo_id: str
    s3_key: str
    bucket: str | None = None
    client_id: str | int | None = None
    session_id: str | int | None = None


_data_decoder = msgspec.json.Decoder(_Data)


def job(job_id: str, token: str, fields: Mapping[str, bytes], defaults: Defaults) -> Job:
    """Return the job of a hash as it is after activation; see `Job.fault` for whether it can be run."""
    data, fault = _data(fields, defaults)
    options, options_fault = _options(fields)
    if mark := cancelling.asked(fields.get(cancelling.FIELD)):
        fault = _fault(Cancelled(mark.message))
    deferred = fields.get("defa")
    if deferred is not None:
        fault = Fault("PROCESSING_ERROR", text(deferred))
    made = max(_count(fields.get("attemptsMade")), _count(fields.get("atm")))
    trace = _trace(fields.get("stacktrace"))
    return Job(
        id=job_id,
        name=text(fields.get("name", b"")),
        token=token,
        photo_id=data.photo_id,
        s3_key=data.s3_key,
        bucket=data.bucket or defaults.bucket,
        client_id=data.client_id,
        session_id=data.session_id,
        timestamp_ms=_count(fields.get("timestamp")),
        delay_ms=_number(options.get("delay")),
        attempt=made + 1,
        attempts=_whole(options.get("attempts")) or defaults.attempts,
        backoff=_backoff(options.get("backoff")),
        deaths=_deaths(trace, fields.get("failedReason")),
        retry_first=options.get("lifo") is True,
        trace=trace,
        trace_limit=_limit(options.get("stackTraceLimit")),
        keep_logs=_limit(options.get("kl")),
        keep_completed=_keep(options.get("removeOnComplete"), defaults.keep_completed),
        keep_failed=_keep(options.get("removeOnFail"), defaults.keep_failed),
        fault=fault or options_fault,
        trace_context=_trace_context(options),
    )


def refusal(data: Mapping[str, Any], defaults: Defaults) -> str:
    """Return why a service with these defaults would refuse a job of that data; "" where it would not."""
    try:
        raw = msgspec.json.encode(data)
    except UnicodeEncodeError:
        return "the data is not text: a file's name need not be Unicode"
    _, fault = _data({"data": raw, "timestamp": b"0"}, defaults)
    return fault.reason if fault else ""


def _data(fields: Mapping[str, bytes], defaults: Defaults) -> tuple[_Data, Fault | None]:
    unknown = _Data(photo_id="", s3_key="")
    raw = fields.get("data")
    if raw is None or "timestamp" not in fields:
        return unknown, _fault(InvalidJob("the job's hash has no data: it was removed, or never written"))
    if len(raw) > MAX_DATA_BYTES:
        return unknown, _fault(InvalidJob(f"the data has {len(raw)} bytes, more than {MAX_DATA_BYTES}"))
    try:
        data = _data_decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        return unknown, _fault(
            InvalidJob(f"the data is not what the contract asks for: {_one_line(str(error))}")
        )
    if not SAFE_NAME.fullmatch(data.photo_id):
        return unknown, _fault(InvalidJob("photoId must be 1 to 128 of A-Z a-z 0-9 . _ -"))
    wrong = _wrong_key(data.s3_key) or _wrong_echo(data)
    if wrong:
        return data, _fault(InvalidJob(wrong))
    if data.bucket is not None and data.bucket not in defaults.buckets:
        return data, _fault(BucketNotAllowed(f"bucket {_one_line(data.bucket)!r} is not in ALLOWED_BUCKETS"))
    return data, None


def _wrong_key(key: str) -> str:
    if not key or len(key.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        return f"s3Key must have 1 to {MAX_KEY_BYTES} bytes"
    if _CONTROL.search(key):
        return "s3Key has control characters in it"
    if any(part in (".", "..") for part in re.split(r"[/\\]", key)):
        return "s3Key has a path step of '.' or '..' in it"
    return ""


def _wrong_echo(data: _Data) -> str:
    for name, value in (("clientId", data.client_id), ("sessionId", data.session_id)):
        if isinstance(value, str) and (len(value) > MAX_ECHO_CHARS or _CONTROL.search(value)):
            return f"{name} must be at most {MAX_ECHO_CHARS} printable characters"
    return ""


def _options(fields: Mapping[str, bytes]) -> tuple[dict[str, Any], Fault | None]:
    raw = fields.get("opts", b"{}")
    try:
        options = msgspec.json.decode(raw[: MAX_DATA_BYTES + 1])
    except (ValueError, RecursionError) as error:
        return {}, _fault(InvalidJob(f"the options are not JSON: {_one_line(str(error))}"))
    return (
        (options, None)
        if isinstance(options, dict)
        else ({}, _fault(InvalidJob("the options are not an object")))
    )


def _trace_context(options: Mapping[str, Any]) -> str:
    """Source: BullMQ job.ts, optsDecodeMap: `tm` is the telemetry's metadata, `omc` omits it."""
    value = options.get("tm")
    known = (
        isinstance(value, str) and len(value) <= MAX_TRACE_CONTEXT_CHARS and options.get("omc") is not True
    )
    return str(value) if known else ""


def _backoff(value: Any) -> Backoff | None:
    if isinstance(value, dict):
        delay, jitter, kind = value.get("delay"), value.get("jitter"), value.get("type")
        return Backoff(kind if isinstance(kind, str) else "fixed", _number(delay), _number(jitter))
    return Backoff("fixed", _number(value)) if _number(value) else None


def _keep(value: Any, default: Keep) -> Keep:
    """Source: BullMQ Scripts.getKeepJobs; `count` must be whole, or the script fails half-way."""
    if value is None:
        return default
    if isinstance(value, bool):
        return Keep(count=0 if value else -1)
    if isinstance(value, dict):
        count, age, limit = _limit(value.get("count")), _age(value.get("age")), _limit(value.get("limit"))
        return Keep(count=count, age=age, limit=limit) if (count, age) != (None, None) else Keep(count=-1)
    return Keep(count=int(value)) if isinstance(value, int | float) and abs(value) <= MAX_NUMBER else default


def _trace(raw: bytes | None) -> tuple[str, ...]:
    try:
        value = msgspec.json.decode(raw or b"[]")
    except (ValueError, RecursionError):
        return ()
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _deaths(trace: tuple[str, ...], failed_reason: bytes | None) -> int:
    """Count the attempts that killed their worker; with no trace kept, the last reason still shows the last one."""

    def deadly(line: str) -> bool:
        return line.partition(":")[0] in DEADLY

    return max(sum(map(deadly, trace)), int(deadly(text(failed_reason or b""))))


def _count(raw: bytes | None) -> int:
    try:
        value = int(raw or 0)
    except ValueError:
        return 0
    return value if 0 <= value <= MAX_NUMBER else 0


def _whole(value: Any) -> int:
    return _limit(value) or 0


def _limit(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if whole and 0 <= value <= MAX_NUMBER else None


def _age(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and 0 <= value <= MAX_NUMBER else None


def _number(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and abs(value) <= MAX_NUMBER else 0.0


def _fault(error: TaskError) -> Fault:
    return Fault(error.code, error.reason)


def _one_line(words: str) -> str:
    return _CONTROL.sub("?", words)[:200]
