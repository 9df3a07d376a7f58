"""The five messages between supervisor and worker, and their coders.

Rule 1: a message is data; photo bytes never ride in it, exceptions never cross.
Rule 2: there is no Stop (close the channel), no Ping (death is EOF), no Cancel (kill the worker).
Rule 3: a channel never outlives its worker, so a late answer is never taken for the next one.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from fastproc.core.model import Options, Report, Sandbox

#: The largest message, in bytes. Linux' default socket buffer takes 208 KiB; a report is bounded far below.
MAX_MESSAGE_BYTES: Final = 160 << 10

#: The lane of the worker's output blob; sources are lanes 1, 2, ...
OUTPUT_LANE: Final = 0

#: What progress and failures call the step that comes before all stages: the judgement of the header.
GATE: Final = "gate"


class Settings(Struct, frozen=True, kw_only=True):
    """What a worker is told once, on its command line (JSON): it has no environment to read.

    `memory_bytes` is what it may allocate, the interpreter and all buffers of a photo together.
    """

    options: Options
    sandbox: Sandbox = "enforce"
    memory_bytes: int = 2 << 30


class Task(Struct, frozen=True, kw_only=True, tag="task"):
    """Process the photo that lies in `lane`, `size` bytes from its start.

    `fresh` names the lanes whose descriptors ride along, in their order; a fresh lane replaces the mapping that
    the worker had under that number. Receiving a task is the permission to overwrite the output lane.
    """

    lane: int
    size: int
    content_type: str | None = None
    fresh: tuple[int, ...] = ()


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker has warmed up and waits for its first task. `encoders`: purpose to encoder, for people.

    `sandbox` says which parts of the jail are in force, `unprotected` which are not and why.
    """

    encoders: dict[str, str]
    versions: dict[str, str]
    sandbox: str = ""
    unprotected: tuple[str, ...] = ()


class Progress(Struct, frozen=True, kw_only=True, tag="progress"):
    """The named stage is done; `gate`, which comes before all stages, tells how many pixels the header promises."""

    stage: str
    pixels: int = 0


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """The task is done; renditions lie in the output lane until the next task."""

    report: Report


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The task failed with a code of `core.errors`; the worker is well and takes the next one."""

    code: str
    message: str
    stage: str


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


def decode_from_worker(packet: bytes) -> FromWorker:
    """Raises msgspec.DecodeError (a ValueError) for anything but Ready, Progress, Done or Failed."""
    return _from_worker.decode(packet)
