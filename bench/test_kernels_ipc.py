"""Times what a photo costs between supervisor and worker: messages, shared memory, a round trip over the socket.

Run by scripts/bench kernels; never a gate. The 3 MB are those of tuning.md, "lanes".
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fastproc.core.model import Rendition, Report
from fastproc.ipc.blob import SlotLanes
from fastproc.ipc.channel import SupervisorChannel, WorkerChannel, pair
from fastproc.ipc.messages import Done, Task, decode_from_worker, decode_to_worker, encode

PHOTO = bytes(range(256)) * (3 << 12)
TASK = Task(lane=1, size=len(PHOTO), content_type="image/jpeg")
RENDITIONS = tuple(
    Rendition(
        stage="thumbnails",
        name=f"thumb_{n}",
        width=600,
        height=400,
        offset=n << 16,
        size=40_000,
        content_type="image/jpeg",
    )
    for n in range(4)
)
FACTS = {"metadata": {"width": 4032, "height": 3024, "exif": {f"field{n}": n / 7 for n in range(30)}}}
DONE = Done(report=Report(width=4032, height=3024, format="jpeg", facts=FACTS, renditions=RENDITIONS))
ROUND_TRIPS = 100


@pytest.mark.parametrize("message", [TASK, DONE], ids=["task", "done"])
def test_encode(benchmark: Any, message: Task | Done) -> None:
    assert benchmark(encode, message)


def test_decode_task(benchmark: Any) -> None:
    assert benchmark(decode_to_worker, encode(TASK)) == TASK


def test_decode_done(benchmark: Any) -> None:
    assert benchmark(decode_from_worker, encode(DONE)) == DONE


@pytest.fixture
def lanes() -> Iterator[SlotLanes]:
    made = SlotLanes(0, source_bytes=64 << 20, output_bytes=64 << 20)
    yield made
    made.close()


def test_lend_and_take_back(benchmark: Any, lanes: SlotLanes) -> None:
    benchmark(lambda: lanes.take_back(lanes.lend(), 0))
    assert lanes.lent == 0


def test_stage_3_mb_in_used_memory(benchmark: Any, lanes: SlotLanes) -> None:
    def stage() -> None:
        lane = lanes.lend()
        lane.blob.view[: len(PHOTO)] = PHOTO
        lanes.take_back(lane, len(PHOTO))

    stage()
    benchmark(stage)
    lane = lanes.lend()
    assert bytes(lane.blob.view[: len(PHOTO)]) == PHOTO


def test_stage_3_mb_in_fresh_memory(benchmark: Any) -> None:
    def stage() -> None:
        lanes = SlotLanes(0, source_bytes=64 << 20, output_bytes=64 << 20)
        lanes.lend().blob.view[: len(PHOTO)] = PHOTO
        lanes.close()

    benchmark(stage)


def test_a_hundred_round_trips(benchmark: Any) -> None:
    """Tasks to a thread that answers each with a report, through both faces of the channel."""
    ours, theirs = pair()
    worker = WorkerChannel(theirs.detach())

    def answer() -> None:
        while worker.receive() is not None:
            worker.send(DONE)

    thread = threading.Thread(target=answer)
    thread.start()
    loop = asyncio.new_event_loop()
    channel = SupervisorChannel(ours)
    answers: list[object] = []

    async def exchange() -> None:
        finished = asyncio.get_running_loop().create_future()

        def on_message(message: object) -> None:
            answers.append(message)
            if len(answers) % ROUND_TRIPS:
                channel.send(TASK, ())
            else:
                finished.set_result(None)

        channel.listen(on_message, lambda why: finished.set_exception(AssertionError(why)))
        channel.send(TASK, ())
        await finished

    async def close() -> None:
        channel.close()

    benchmark(lambda: loop.run_until_complete(exchange()))
    loop.run_until_complete(close())
    loop.close()
    thread.join()
    worker._socket.close()
    assert len(answers) % ROUND_TRIPS == 0
    assert answers[0] == DONE
