"""The five messages: there and back, bounded, and nothing but a ValueError from hostile bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.model import Options, Rendition, Report
from fastproc.ipc import launch
from fastproc.ipc.messages import (
    MAX_MESSAGE_BYTES,
    Done,
    Failed,
    Progress,
    Ready,
    Settings,
    Task,
    decode_from_worker,
    decode_to_worker,
    encode,
)

REPORT = Report(
    width=640,
    height=480,
    format="jpeg",
    facts={"metadata": {"exif": {"camera": "Acme"}, "density": None, "brightness": 0.5}},
    renditions=(Rendition(stage="thumbnails", name="s", width=1, height=2, offset=3, size=4),),
    timings_ms={"validation": 0.25},
    warnings=("odd",),
)
FROM_WORKER = [
    Ready(encoders={"thumbnails": "jpegli"}, versions={"libvips": "8.18"}),
    Progress(stage="metadata"),
    Done(report=REPORT),
    Failed(code="FILE_CORRUPTED", message="cut short", stage="validation"),
]


@pytest.mark.parametrize("message", FROM_WORKER, ids=lambda message: type(message).__name__)
def test_a_message_of_a_worker_arrives_as_it_was(message: Any) -> None:
    assert decode_from_worker(encode(message)) == message


def test_a_task_arrives_as_it_was() -> None:
    task = Task(lane=2, size=9, content_type="image/png", fresh=(0, 2))
    assert decode_to_worker(encode(task)) == task
    assert decode_to_worker(encode(Task(lane=1, size=0))) == Task(lane=1, size=0)


@pytest.mark.parametrize("message", FROM_WORKER, ids=lambda message: type(message).__name__)
def test_a_message_from_a_worker_is_no_task(message: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_to_worker(encode(message))


def test_a_task_is_no_message_from_a_worker() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_from_worker(encode(Task(lane=1, size=1)))


def test_a_message_over_the_limit_is_not_sent() -> None:
    room = MAX_MESSAGE_BYTES - len(encode(Failed(code="", message="x" * 70_000, stage=""))) + 70_000
    assert len(encode(Failed(code="", message="x" * room, stage=""))) == MAX_MESSAGE_BYTES
    with pytest.raises(ValueError, match="the limit is"):
        encode(Failed(code="", message="x" * (room + 1), stage=""))


@given(st.binary(max_size=400))
def test_random_bytes_are_a_value_error_and_nothing_else(packet: bytes) -> None:
    for decode in (decode_from_worker, decode_to_worker):
        try:
            decode(packet)
        except ValueError:
            continue
        except RecursionError:
            pytest.fail("nothing this short may nest that deep")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
FIELDS = [
    "type",
    "stage",
    "report",
    "code",
    "message",
    "width",
    "height",
    "format",
    "facts",
    "renditions",
    "x",
]


@given(
    st.sampled_from(["ready", "progress", "done", "failed", "task", "", "?"]),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6),
)
def test_a_message_of_the_wrong_shape_is_a_value_error_and_nothing_else(
    tag: str, fields: dict[str, Any]
) -> None:
    packet = msgspec.msgpack.encode({**fields, "type": tag})
    try:
        decode_from_worker(packet)
    except ValueError:
        return
    assert tag in ("ready", "progress", "done", "failed")


@given(st.data())
def test_a_valid_message_with_damaged_bytes_is_a_message_or_a_value_error(data: st.DataObject) -> None:
    packet = bytearray(encode(data.draw(st.sampled_from(FROM_WORKER))))
    for at in data.draw(st.lists(st.integers(0, len(packet) - 1), min_size=1, max_size=5)):
        packet[at] = data.draw(st.integers(0, 255))
    try:
        decode_from_worker(bytes(packet))
    except ValueError:
        return


def test_a_bomb_of_nested_arrays_is_refused() -> None:
    with pytest.raises((ValueError, RecursionError)):
        decode_from_worker(b"\x91" * 100_000)


def test_a_worker_gets_its_settings_on_its_command_line_and_inherits_no_environment() -> None:
    settings = Settings(options=Options(optimize_quality=42))
    command = launch.command(7, settings)
    assert command[1:5] == ["-I", "-m", "fastproc.worker.main", "7"]
    assert msgspec.json.decode(command[5], type=Settings) == settings
    assert not {"PATH", "HOME"} & set(launch.ENVIRONMENT)
