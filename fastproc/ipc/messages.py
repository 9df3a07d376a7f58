"""The five messages between supervisor and worker, and their coders.

Rule 1: a message is data; it never contains photo bytes or exceptions.
Rule 2: there is no Stop (close the channel), no Ping (death is EOF), no Cancel (kill the worker).
Rule 3: a channel never outlives its worker, so a late answer is never taken for the answer of the next worker.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from fastproc.core.defects import Defect
from fastproc.core.model import Options, Report, Sandbox

#: The largest message, in bytes. Linux's default socket buffer takes 208 KiB; a worker drops facts from a report that
#: would be larger (`worker.facts.bounded`).
MAX_MESSAGE_BYTES: Final = 160 << 10

#: The lane of the worker's output blob; sources are lanes 1, 2, ...
OUTPUT_LANE: Final = 0

#: The name in progress and failures of the step before all stages: the check of the header.
GATE: Final = "gate"


class Settings(Struct, frozen=True, kw_only=True):
    """What a worker gets once, on its command line (JSON): its environment has nothing but constants.

    `memory_bytes` is the most that it may allocate, for the interpreter and all buffers of a photo; `kept_bytes` is
    the most that it keeps of that between tasks.
    """

    options: Options
    sandbox: Sandbox = "enforce"
    memory_bytes: int = 2 << 30
    kept_bytes: int = 128 << 20


class Task(Struct, frozen=True, kw_only=True, tag="task"):
    """Process the photo in the first `size` bytes of `lane`.

    `fresh` names the lanes whose descriptors come with the message, in the same order; a fresh lane replaces the
    worker's mapping of that number. A worker that receives a task may overwrite the output lane.
    """

    lane: int
    size: int
    content_type: str | None = None
    fresh: tuple[int, ...] = ()


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker has warmed up and waits for its first task. `encoders`: purpose to encoder, for the log.

    `sandbox` names the parts of the jail that are in force, `unprotected` those that are not, and why. `formats` are
    those that it could decode, whether they are allowed or not.
    """

    encoders: dict[str, str]
    versions: dict[str, str]
    sandbox: str = ""
    unprotected: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()


class Progress(Struct, frozen=True, kw_only=True, tag="progress"):
    """The named stage is done; for `gate`, before all stages, `pixels` is the count that the header gives.

    Where there are stages of somebody's own it also comes before `Ready`: what was tried, and `gate` behind the last.
    """

    stage: str
    pixels: int = 0


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """The task is done; its renditions stay in the output lane until the next task."""

    report: Report


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The task failed with a code of `core.errors`; the worker is healthy and can take the next task.

    `defect` is the exception behind it where a stage or a library raised one that nobody expected.
    """

    code: str
    message: str
    stage: str
    defect: Defect | None = None


ToWorker = Task
FromWorker = Ready | Progress | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[Task] = msgspec.msgpack.Decoder(Task)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """Return the packet of a message. Raises ValueError if it is larger than MAX_MESSAGE_BYTES."""
    packet = _encoder.encode(message)
    if len(packet) > MAX_MESSAGE_BYTES:
        raise ValueError(f"message of {len(packet)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return packet


def decode_to_worker(packet: bytes) -> ToWorker:
    """Raises msgspec.DecodeError (a ValueError) for anything but a Task."""
    return _to_worker.decode(packet)


def decode_from_worker(packet: bytes | memoryview) -> FromWorker:
    """Raises msgspec.DecodeError (a ValueError) for anything but Ready, Progress, Done or Failed."""
    return _from_worker.decode(packet)
