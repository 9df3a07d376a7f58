"""From a job's hash to a Job: total, whatever the hash holds."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.bullmq import protocol
from fastproc.bullmq.decode import MAX_DATA_BYTES, Defaults, job, refusal
from fastproc.core.errors import BY_CODE
from fastproc.core.model import Backoff, Fault, Job, Keep
from fastproc.core.naming import SAFE_NAME

DEFAULTS = Defaults(bucket="photos", buckets=("photos", "archive"), attempts=3)
DATA = {"photoId": "p-1", "s3Key": "photos/p-1.jpg"}


def hashed(data: Any = DATA, opts: Any = None, **more: bytes) -> dict[str, bytes]:
    """A hash as BullMQ writes it; `data` and `opts` as values, or as raw bytes."""

    def raw(value: Any) -> bytes:
        return value if isinstance(value, bytes) else json.dumps(value).encode()

    fields = {
        "name": b"process",
        "data": raw(data),
        "opts": raw({} if opts is None else opts),
        "timestamp": b"1700000000000",
    }
    return {**fields, "ats": b"1", "delay": b"0", "priority": b"0", **more}


def read(fields: dict[str, bytes]) -> Job:
    return job("7", "w:1", fields, DEFAULTS)


def code(found: Job) -> str | None:
    return found.fault.code if found.fault else None


def test_a_job_of_the_contract_is_read() -> None:
    found = read(hashed({**DATA, "bucket": "archive", "clientId": "c", "sessionId": 5, "unknown": [1]}))
    assert found.fault is None
    assert (found.id, found.token, found.name) == ("7", "w:1", "process")
    assert (found.photo_id, found.s3_key, found.bucket) == ("p-1", "photos/p-1.jpg", "archive")
    assert (found.client_id, found.session_id) == ("c", 5)
    assert (found.timestamp_ms, found.attempt, found.attempts) == (1_700_000_000_000, 1, 3)
    assert (found.backoff, found.deaths, found.trace) == (None, 0, ())


def test_a_job_that_names_no_bucket_gets_the_default_one() -> None:
    assert read(hashed()).bucket == "photos"


@pytest.mark.parametrize(
    ("opts", "context"),
    [
        ({"tm": '{"traceparent":"00-1-2-01"}'}, '{"traceparent":"00-1-2-01"}'),
        ({"tm": "x", "omc": False}, "x"),
        ({"tm": "x", "omc": True}, ""),
        ({"tm": 7}, ""),
        ({"tm": "x" * 10_001}, ""),
        ({}, ""),
    ],
)
def test_the_producers_trace_is_handed_on_unless_it_is_to_be_omitted(opts: Any, context: str) -> None:
    assert read(hashed(opts=opts)).trace_context == context


MALFORMED = {
    "no hash at all": {},
    "the ghost of a removed job": {"ats": b"1", "processedOn": b"1700000000000"},
    "no data": {name: value for name, value in hashed().items() if name != "data"},
    "no timestamp": {name: value for name, value in hashed().items() if name != "timestamp"},
    "empty data": hashed(b""),
    "data cut short": hashed(b'{"photoId": "p-1", "s3K'),
    "data not JSON": hashed(b"photoId=p-1"),
    "data not UTF-8": hashed(b'{"photoId": "\xff\xfe", "s3Key": "k"}'),
    "data null": hashed(b"null"),
    "data a list": hashed(b'["p-1", "k"]'),
    "data a string": hashed(b'"p-1"'),
    "data NaN": hashed(b"NaN"),
    "data nested 30,000 deep": hashed(b"[" * 30_000),
    "unknown field nested 30,000 deep": hashed(b'{"x":' + b"[" * 30_000),
    "data with a byte order mark": hashed(b"\xef\xbb\xbf" + json.dumps(DATA).encode()),
    "data over the limit": hashed({**DATA, "x": "y" * MAX_DATA_BYTES}),
    "opts not JSON": hashed(opts=b"{attempts: 3}"),
    "opts not UTF-8": hashed(opts=b'{"x": "\xff"}'),
    "opts null": hashed(opts=b"null"),
    "opts a list": hashed(opts=b"[]"),
    "opts empty": hashed(opts=b""),
    "opts nested 100,000 deep": hashed(opts=b'{"x":' + b"[" * 100_000),
    "no photoId": hashed({"s3Key": "k"}),
    "no s3Key": hashed({"photoId": "p"}),
    "photoId a number": hashed({**DATA, "photoId": 42}),
    "photoId null": hashed({**DATA, "photoId": None}),
    "s3Key a list": hashed({**DATA, "s3Key": ["k"]}),
    "s3Key empty": hashed({**DATA, "s3Key": ""}),
    "s3Key of 1,025 bytes": hashed({**DATA, "s3Key": "ü" * 512 + "x"}),
    "s3Key with a step up": hashed({**DATA, "s3Key": "photos/../secret"}),
    "s3Key with a step up by backslash": hashed({**DATA, "s3Key": "photos\\..\\secret"}),
    "s3Key with a line break": hashed({**DATA, "s3Key": "a\r\nb"}),
    "s3Key with a null": hashed({**DATA, "s3Key": "a\0b"}),
    "s3Key with a lone surrogate": hashed(b'{"photoId": "p", "s3Key": "\\ud800"}'),
    "bucket a number": hashed({**DATA, "bucket": 1}),
    "clientId an object": hashed({**DATA, "clientId": {}}),
    "clientId too long": hashed({**DATA, "clientId": "x" * 257}),
    "sessionId with a line break": hashed({**DATA, "sessionId": "a\nb"}),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_hash_is_an_invalid_job_and_never_an_exception(fields: dict[str, bytes]) -> None:
    found = read(fields)
    assert code(found) == "INVALID_JOB"
    assert found.fault is not None
    assert found.fault.reason.startswith("INVALID_JOB: ")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", found.fault.reason)
    assert len(found.fault.reason) < 400


@pytest.mark.parametrize(
    "photo_id",
    ["../../etc/passwd", "/abs", "a\0b", "\r\n", "%2e%2e", "..%2f", "x" * 129, "\U0001f600", "ü", "..", ".", "", "a b"],
)  # fmt: skip
def test_a_hostile_photo_id_is_refused_and_not_handed_on(photo_id: str) -> None:
    found = read(hashed({**DATA, "photoId": photo_id}))
    assert code(found) == "INVALID_JOB"
    assert found.photo_id == ""


@pytest.mark.parametrize("bucket", ["other", "http://169.254.169.254", "a@b", "photos/", "", "\n"])
def test_a_bucket_that_is_not_allowed_is_refused(bucket: str) -> None:
    found = read(hashed({**DATA, "bucket": bucket}))
    assert code(found) == "BUCKET_NOT_ALLOWED"
    assert found.photo_id == "p-1"  # Its row can be told.


def test_a_deferred_failure_comes_before_everything_word_by_word() -> None:
    for fields in (hashed(), hashed(b"rubbish"), hashed({**DATA, "bucket": "other"}), hashed(opts=b"[")):
        found = read({**fields, "defa": b"job stalled more than allowable limit"})
        assert found.fault is not None
        assert found.fault.reason == "job stalled more than allowable limit"
        assert found.fault.code in BY_CODE


def test_a_job_that_cannot_be_read_keeps_its_own_rules() -> None:
    opts = {"removeOnFail": True, "attempts": 5}
    found = read(hashed(b"rubbish", opts, atm=b"2"))
    assert (found.keep_failed, found.attempts, found.attempt) == (Keep(count=0), 5, 3)


# --- the options


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 3), (0, 3), (1, 1), (7, 7), (-2, 3), ("5", 3), (True, 3), (2.5, 3), ([], 3), (10**30, 3),
    ],
)  # fmt: skip
def test_attempts_are_the_jobs_own_or_the_services(value: Any, expected: int) -> None:
    assert read(hashed(opts={"attempts": value})).attempts == expected


@pytest.mark.parametrize(
    ("fields", "attempt"),
    [
        ({}, 1),
        ({"atm": b"2"}, 3),
        ({"attemptsMade": b"4", "atm": b"1"}, 5),
        ({"atm": b"x"}, 1),
        ({"atm": b"-3"}, 1),
        ({"atm": b""}, 1),
    ],
)
def test_the_attempt_counts_those_made_in_either_spelling(fields: dict[str, bytes], attempt: int) -> None:
    assert read(hashed(**fields)).attempt == attempt


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (0, None),
        (500, Backoff("fixed", 500.0)),
        ({"type": "exponential", "delay": 2000}, Backoff("exponential", 2000.0)),
        ({"type": "exponential", "delay": 2000, "jitter": 0.5}, Backoff("exponential", 2000.0, 0.5)),
        ({"delay": 100}, Backoff("fixed", 100.0)),
        ({"type": "fixed"}, Backoff("fixed", 0.0)),
        ({"type": 5, "delay": "x"}, Backoff("fixed", 0.0)),
        (-1, Backoff("fixed", -1.0)),
        ("exponential", None),
        (True, None),
        ([], None),
    ],
)
def test_a_backoff_is_read_as_node_reads_it(value: Any, expected: Backoff | None) -> None:
    assert read(hashed(opts={"backoff": value})).backoff == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, Keep(count=0)),
        (False, Keep(count=-1)),
        (0, Keep(count=0)),
        (25, Keep(count=25)),
        ({"age": 60}, Keep(age=60)),
        ({"count": 3, "age": 60, "limit": 9}, Keep(count=3, age=60, limit=9)),
        ({"age": 0.5}, Keep(age=0.5)),
        ({"age": -1}, Keep(count=-1)),
        ({"age": True}, Keep(count=-1)),
        ({"count": 1.5}, Keep(count=-1)),
        ({}, Keep(count=-1)),
    ],
)
def test_what_is_kept_is_the_jobs_own_choice(value: Any, expected: Keep) -> None:
    found = read(hashed(opts={"removeOnComplete": value, "removeOnFail": value}))
    assert found.keep_completed == found.keep_failed == expected
    assert protocol.keep_map(found.keep_completed)


def test_what_is_kept_without_a_choice_is_the_reference_deployments() -> None:
    for opts in ({}, {"removeOnComplete": None, "removeOnFail": "odd"}):
        found = read(hashed(opts=opts))
        assert found.keep_completed == Keep(age=24 * 3600, count=1000)
        assert found.keep_failed == Keep(age=7 * 24 * 3600)


def test_order_trace_limit_and_log_limit_are_read() -> None:
    found = read(hashed(opts={"lifo": True, "stackTraceLimit": 2, "kl": 10}))
    assert (found.retry_first, found.trace_limit, found.keep_logs) == (True, 2, 10)
    found = read(hashed(opts={"lifo": "yes", "stackTraceLimit": -1, "kl": "x"}))
    assert (found.retry_first, found.trace_limit, found.keep_logs) == (False, None, None)


# --- the past

CRASH, TIMEOUT = (
    "WORKER_CRASHED: it died\n    at attempt 1 of 3",
    "WORKER_TIMEOUT: too long\n    at attempt 2 of 3",
)


@pytest.mark.parametrize(
    ("trace", "reason", "deaths"),
    [
        ([], None, 0),
        ([CRASH], "WORKER_CRASHED: it died", 1),
        ([CRASH, TIMEOUT], "WORKER_TIMEOUT: too long", 2),
        (["STORAGE_UNAVAILABLE: x", CRASH], "WORKER_CRASHED: it died", 1),
        (["STORAGE_UNAVAILABLE: WORKER_CRASHED"], "STORAGE_UNAVAILABLE: x", 0),
        ([], "WORKER_OUT_OF_MEMORY: no room", 1),
        (["Error: not ours"], "Error: not ours", 0),
    ],
)
def test_deaths_of_workers_are_counted_from_the_jobs_own_trace(
    trace: list[str], reason: str | None, deaths: int
) -> None:
    more = {"failedReason": reason.encode()} if reason else {}
    found = read(hashed(stacktrace=json.dumps(trace).encode(), **more))
    assert found.deaths == deaths
    assert found.trace == tuple(trace)


@pytest.mark.parametrize("raw", [b"", b"x", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_a_trace_that_cannot_be_read_is_none(raw: bytes) -> None:
    found = read(hashed(stacktrace=raw))
    assert found.trace == ()
    assert found.fault is None


# --- anything

NAMES = [
    "name",
    "data",
    "opts",
    "timestamp",
    "defa",
    "atm",
    "ats",
    "attemptsMade",
    "stacktrace",
    "failedReason",
    "delay",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=60)))
def test_no_bytes_make_decoding_raise(fields: dict[str, bytes]) -> None:
    found = read(fields)
    assert found.fault is not None or SAFE_NAME.fullmatch(found.photo_id)
    assert found.attempt >= 1
    assert found.attempts >= 1


KEYS = ["attempts", "backoff", "removeOnComplete", "removeOnFail", "kl", "stackTraceLimit", "lifo"]
INNER = ["type", "delay", "jitter", "count", "age", "limit"]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES | st.dictionaries(st.sampled_from(INNER), VALUES)))
def test_no_options_make_decoding_raise_or_give_redis_what_its_scripts_refuse(opts: dict[str, Any]) -> None:
    found = read(hashed(opts=json.dumps(opts).encode()))
    assert found.fault is None
    for keep in (found.keep_completed, found.keep_failed):
        kept = protocol.keep_map(keep)
        assert all(type(value) is int for name, value in kept.items() if name != "age")
        assert 0 <= kept.get("age", 0) <= 2**53
        protocol.pack(protocol.keep_map(keep))
    protocol.pack({"attempts": found.attempts})


@given(st.dictionaries(st.sampled_from(["photoId", "s3Key", "bucket", "clientId", "sessionId"]), VALUES))
def test_data_that_pass_are_safe_in_keys_and_events(data: dict[str, Any]) -> None:
    found = read(hashed({**DATA, **data}))
    if found.fault is None:
        assert SAFE_NAME.fullmatch(found.photo_id)
        assert found.bucket in DEFAULTS.buckets
        assert found.s3_key
        assert found.s3_key.isprintable() or not re.search(r"[\x00-\x1f]", found.s3_key)
        assert ".." not in found.s3_key.replace("\\", "/").split("/")
    else:
        assert found.fault.code in ("INVALID_JOB", "BUCKET_NOT_ALLOWED")


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_a_giant_number_breaks_nothing(digits: int) -> None:
    giant = b"9" * digits
    for name in (b"attempts", b"backoff", b"removeOnComplete", b"kl", b"stackTraceLimit"):
        found = read(hashed(opts=b'{"%s": %s}' % (name, giant)))
        protocol.pack({"attempts": found.attempts, **protocol.keep_map(found.keep_completed)})
    for field in ("atm", "timestamp", "attemptsMade"):
        assert read(hashed(**{field: giant})).attempt >= 1
    assert read(hashed(opts=b'{"backoff": {"delay": %s, "jitter": %s}}' % (giant, giant))).attempts == 3


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"why":"a\\nb","by":"me","at":1}', "CANCELLED: an operator has cancelled the job: a b"),
        (b'{"why":"","by":"","at":0}', "CANCELLED: an operator has cancelled the job"),
        (b"written by hand", "CANCELLED: an operator has cancelled the job"),
    ],
)
def test_a_job_that_an_operator_has_marked_must_end(raw: bytes, reason: str) -> None:
    found = read(hashed(b"not json", fastprocCancel=raw))
    assert (code(found), found.fault and found.fault.reason) == ("CANCELLED", reason)
    assert found.photo_id == ""
    assert read(hashed(fastprocCancel=raw)).photo_id == "p-1"
    assert read(hashed(fastprocCancel=raw, defa=b"a child has failed")).fault == Fault(
        "PROCESSING_ERROR", "a child has failed"
    )


def test_a_mark_that_was_obeyed_is_none() -> None:
    assert read(hashed(fastprocCancel=b"")).fault is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"s3Key": ""}, "INVALID_JOB: s3Key must have 1 to 1024 bytes"),
        ({"s3Key": "k" * 1025}, "INVALID_JOB: s3Key must have 1 to 1024 bytes"),
        ({"s3Key": "a/../b"}, "INVALID_JOB: s3Key has a path step of '.' or '..' in it"),
        ({"s3Key": "caf\udce9.jpg"}, "the data is not text: a file's name need not be Unicode"),
        ({"photoId": "a b"}, "INVALID_JOB: photoId must be 1 to 128 of A-Z a-z 0-9 . _ -"),
        ({"bucket": "theirs"}, "BUCKET_NOT_ALLOWED: bucket 'theirs' is not in ALLOWED_BUCKETS"),
        ({"clientId": "c" * 300}, "INVALID_JOB: clientId must be at most 256 printable characters"),
    ],
    ids=range(8),
)
def test_a_producer_is_told_what_the_service_would_refuse(changes: dict[str, str], why: str) -> None:
    assert refusal(DATA | changes, DEFAULTS) == why
    if why and "text" not in why:
        fault = read(hashed(DATA | changes)).fault
        assert fault is not None
        assert fault.reason == why
