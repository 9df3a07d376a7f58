"""A process that uses a worker's protocol and lies: `python -I liar.py FD LIE`. For tests of the supervisor.

It sends Ready, takes a task, and then tells the lie of that name. It has no jail and no pipeline.
"""

from __future__ import annotations

import array
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from fastproc.core.model import Rendition, Report
from fastproc.ipc.messages import MAX_MESSAGE_BYTES, Done, Failed, Progress, Ready, encode

#: Bytes of a picture in the task's output blob.
PICTURE_BYTES = 4 << 20
HONEST = Report(width=640, height=480, format="jpeg", facts={"validation": {}})
LIES: dict[str, Callable[[], Any]] = {}


def lie(function: Callable[[], Any]) -> Callable[[], Any]:
    LIES[function.__name__] = function
    return function


def say(*messages: Any) -> None:
    for message in messages:
        channel.sendmsg([message if isinstance(message, bytes) else encode(message)])


def report(**more: Any) -> Done:
    return Done(report=msgspec.structs.replace(HONEST, **more))


def picture(**more: Any) -> Done:
    rendition = Rendition(stage="validation", name="x", width=1, height=1, offset=0, size=10)
    return report(renditions=(msgspec.structs.replace(rendition, **more),))


@lie
def nothing_wrong() -> None:
    say(Progress(stage="validation"), report())


@lie
def garbage() -> None:
    say(b"\xc1\xff\x00" * 100)


@lie
def an_endless_message() -> None:
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_MESSAGE_BYTES)
    say(b"\x00" * (MAX_MESSAGE_BYTES + 1))


@lie
def arrays_in_arrays() -> None:
    say(b"\x91" * 100_000)


@lie
def a_map_that_claims_to_be_huge() -> None:
    say(b"\x82\xa4type\xa4done\xa6report\xdf\xff\xff\xff\xff")


@lie
def ready_again() -> None:
    say(Ready(encoders={}, versions={}))


@lie
def a_stage_twice() -> None:
    say(Progress(stage="validation"), Progress(stage="validation"), report())


@lie
def a_stage_of_its_own() -> None:
    say(Progress(stage="x\r\nEVIL"), report())


@lie
def a_code_of_its_own() -> None:
    say(Failed(code="BRIBED", message="", stage="validation"))


@lie
def somebody_elses_fault() -> None:
    say(Failed(code="STORAGE_UNAVAILABLE", message="the bucket is gone", stage=""))


@lie
def a_long_story() -> None:
    say(Failed(code="FILE_CORRUPTED", message="x" * 100_000, stage="validation"))


@lie
def no_number() -> None:
    say(report(timings_ms={"validation": float("nan")}))


@lie
def a_million_facts() -> None:
    say(report(facts={"validation": {"many": [0] * 70_000}}, warnings=("w",) * 40_000))


@lie
def facts_in_facts() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    say(report(facts={"validation": {"deep": value}}))


@lie
def facts_that_are_no_json() -> None:
    say(report(facts={"validation": {"raw": b"\xff\xfe"}}))


@lie
def bytes_before_the_blob() -> None:
    say(picture(offset=-4096))


@lie
def bytes_after_the_blob() -> None:
    say(picture(offset=2**62, size=2**62))


@lie
def a_program_as_a_picture() -> None:
    say(picture(content_type="image/svg+xml"))


@lie
def the_whole_blob_many_times() -> None:
    whole = Rendition(stage="validation", name="", width=1, height=1, offset=0, size=size_of_output)
    say(report(renditions=tuple(msgspec.structs.replace(whole, name=f"n{n}") for n in range(60))))


@lie
def its_end_while_it_lives() -> None:
    channel.close()


@lie
def deafness() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@lie
def a_smaller_blob() -> None:
    """The sealed blob cannot be truncated, so the supervisor can read it, and gets a picture."""
    for fd in fds:
        try:
            os.ftruncate(fd, 0)
        except OSError:
            continue
        return
    say(picture())


@lie
def a_picture_that_changes() -> None:
    """Rewritten as fast as possible while the supervisor reads it."""
    output = mmap.mmap(fds[0], size_of_output)

    def scribble() -> None:
        while True:
            for letter in b"ab":
                output[:PICTURE_BYTES] = bytes([letter]) * PICTURE_BYTES

    threading.Thread(target=scribble, daemon=True).start()
    time.sleep(0.05)
    say(picture(size=PICTURE_BYTES))


if __name__ == "__main__":
    channel = socket.socket(fileno=int(sys.argv[1]))
    say(Ready(encoders={}, versions={}))
    _, ancillary, _, _ = channel.recvmsg(MAX_MESSAGE_BYTES, socket.CMSG_SPACE(64))
    fds = array.array("i", b"".join(rights for _, _, rights in ancillary))
    size_of_output = os.fstat(fds[0]).st_size
    LIES[sys.argv[2]]()
    time.sleep(60)
