"""BullMQ's wire: keys in the scripts' order, arguments, replies."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastproc.bullmq import protocol
from fastproc.bullmq.protocol import Fetch, Fetched, Keys, Outcome, read_fetched
from fastproc.bullmq.scripts import load
from fastproc.core.model import Keep

KEYS = Keys("bull", "photos")
FETCH = Fetch(token="w:1", lock_duration_ms=30_000, name="me")

#: Words by which the scripts' headers call a key, where it is not the key's own name.
CALLED = {
    "limiter": ("rate limiter", "limiter"),
    "pc": ("pc", "priority counter"),
    "events": ("event",),
    "stalled-check": ("stalled-check", "stalledcheck"),
    "7": ("job", "producer key"),
    "7:logs": ("logs",),
    "completed": ("completed/failed", "completed", "job state"),
    "metrics:completed": ("metrics",),
}


def package_folder() -> pathlib.Path:
    spec = importlib.util.find_spec("bullmq")
    assert spec is not None
    assert spec.submodule_search_locations
    return pathlib.Path(spec.submodule_search_locations[0]) / "commands"


def described(source: str) -> dict[int, str]:
    """What the header comment says of each key."""
    header = source.partition("]]")[0]
    return {int(n): words.strip().lower() for n, words in re.findall(r"KEYS\[(\d+)\]\s*=?\s*(.+)", header)}


@pytest.mark.parametrize("name", protocol.SCRIPTS)
def test_the_keys_of_a_script_are_in_the_order_that_its_own_header_gives(name: str) -> None:
    script = load()[name]
    keys = KEYS.of_script(name, script.arity, "7", "completed")
    words = described(script.source)
    assert len(keys) == script.arity
    assert set(words) == set(range(1, script.arity + 1))
    for number, key in enumerate(keys, 1):
        suffix = key.removeprefix("bull:photos:")
        called = CALLED.get(suffix, (suffix,))
        assert any(word in words[number] for word in called), (
            f"KEYS[{number}] is {words[number]!r}, not {key}"
        )


def test_the_scripts_that_we_call_take_no_key_that_they_do_not_describe() -> None:
    for name, script in load().items():
        used = {int(n) for n in re.findall(r"KEYS\[(\d+)\]", script.source)}
        assert max(used) <= script.arity, name


def test_a_layout_that_is_not_known_is_refused() -> None:
    assert protocol.knows("moveToDelayed", 12)
    assert protocol.knows("moveToDelayed", 11)
    assert not protocol.knows("moveToDelayed", 13)
    with pytest.raises(KeyError):
        KEYS.of_script("moveToDelayed", 13)


def test_keys_begin_with_prefix_and_queue_and_the_client_is_named_as_bullmq_looks_for_it() -> None:
    assert KEYS("wait") == "bull:photos:wait"
    assert KEYS.client_name == "bull:cGhvdG9z"


# --- replies


def test_a_reply_with_a_job_is_its_id_and_its_hash() -> None:
    assert read_fetched([[b"name", b"x", b"data", b"{}"], b"42", 0, 0]) == Fetched(
        job_id="42", fields={"name": b"x", "data": b"{}"}
    )


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (0, Fetched()),
        (None, Fetched()),
        ([], Fetched()),
        ([0, 0, 0, 0], Fetched()),
        ([0, 0, 1500, 0], Fetched(limit_ms=1500)),
        ([0, 0, 0, 1_700_000_000_000], Fetched(next_at_ms=1_700_000_000_000)),
        ([0, 0, -5, -1], Fetched()),
        ([0, b"0", b"7", b"9"], Fetched(limit_ms=7, next_at_ms=9)),
    ],
)
def test_a_reply_without_a_job_says_when_to_ask_again(reply: object, expected: Fetched) -> None:
    assert read_fetched(reply) == expected


def test_what_is_not_utf8_in_a_hash_is_left_to_the_decoder() -> None:
    assert read_fetched([[b"data", b"\xff"], b"\xff", 0, 0]) == Fetched(
        job_id="\ufffd", fields={"data": b"\xff"}
    )


# --- arguments


def unpack(blob: object) -> object:
    assert isinstance(blob, bytes)
    return msgpack.unpackb(blob)


def finished(**more: object) -> list[protocol.Arg]:
    given_ = {"target": "completed", "value": "{}", "keep": Keep(count=5, age=60), "attempts": 3, **more}
    return protocol.move_to_finished(
        KEYS, 99, FETCH, job_id="7", outcome=Outcome(**given_), fetch_next=True
    )  # fmt: skip


def test_a_fetch_says_token_lock_and_name() -> None:
    args = protocol.move_to_active(KEYS, 99, FETCH)
    assert args[:2] == ["bull:photos:", 99]
    assert unpack(args[2]) == {"token": "w:1", "lockDuration": 30_000, "name": "me"}


def test_finishing_has_every_option_without_which_the_script_fails_half_way() -> None:
    args = finished()
    assert args[:7] == ["7", 99, "returnvalue", "{}", "completed", 1, "bull:photos:"]
    options = unpack(args[7])
    assert isinstance(options, dict)
    assert options["keepJobs"] == {"count": 5, "age": 60}
    assert (options["token"], options["lockDuration"], options["attempts"]) == ("w:1", 30_000, 3)
    assert options["maxMetricsSize"] is not None
    assert len(args) == 8


def test_a_failure_writes_its_reason_and_its_fields_in_the_same_step() -> None:
    args = finished(target="failed", value="X: y", fields={"failedReason": "X: y", "stacktrace": "[]"})
    assert args[2:5] == ["failedReason", "X: y", "failed"]
    assert unpack(args[8]) == ["failedReason", "X: y", "stacktrace", "[]"]


def test_keeping_without_limits_is_said_as_keeping_all() -> None:
    assert protocol.keep_map(Keep()) == {"count": -1}
    assert protocol.keep_map(Keep(limit=5, count=0)) == {"count": 0, "limit": 5}


def test_a_delay_counts_the_attempt_and_a_retry_goes_to_the_end_it_asks_for() -> None:
    args = protocol.move_to_delayed(
        KEYS, 99, FETCH, job_id="7", delay_ms=500, fields={"a": "b"}, fetch_next=False
    )
    assert args[:6] == ["bull:photos:", 99, "7", "w:1", 500, "0"]
    assert unpack(args[6]) == ["a", "b"]
    assert args[7] == 0
    retry = [
        protocol.retry_job(KEYS, 99, job_id="7", token="t", first=first, fields={})[2] for first in (0, 1)
    ]
    assert retry == ["LPUSH", "RPUSH"]


def test_no_fields_are_an_empty_argument() -> None:
    assert protocol.flat_fields({}) == b""


@given(st.text(), st.text())
def test_whatever_text_a_job_brings_packs_into_what_redis_takes(name: str, value: str) -> None:
    for text in (name + "\ud800" + value, name, value):
        protocol.clean(text).encode()
        unpack(protocol.flat_fields({"failedReason": text}))
    assert not re.search("[\ud800-\udfff]", protocol.clean("a\udfffb"))


def test_a_map_leaves_out_what_is_absent() -> None:
    assert unpack(protocol.pack({"a": 1, "b": None})) == {"a": 1}


INTEGERS = (0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53, 2**64 - 1)
NEGATIVES = (-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63))
LENGTHS = (0, 15, 16, 31, 32, 255, 256, 65_535, 65_536)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
)


@given(VALUES)
@example([*INTEGERS, *NEGATIVES])
@example(["x" * length for length in LENGTHS])
@example([[None] * length for length in LENGTHS])
@example([{str(n): n for n in range(length)} for length in LENGTHS])
def test_a_blob_has_the_bytes_that_the_official_worker_sends(value: object) -> None:
    """The official Python package packs with `msgpack`, by the same call."""
    assert protocol.pack([value]) == msgpack.packb([value], use_bin_type=True)
