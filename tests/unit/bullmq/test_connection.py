"""A connection to Redis whose socket is gone ends in an error that the callers expect, on uvloop too."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from fastproc.bullmq.connection import CONNECTION_ERRORS
from tests.unit.bullmq.fake_redis import FakeRedis


@pytest.fixture(autouse=True, scope="module")
def signal_pipe() -> None:
    """uvloop keeps a pipe for signals from its first loop on: that is not a leak of a test."""
    uvloop.new_event_loop().close()


def test_a_write_to_a_socket_that_was_just_closed_is_a_lost_connection() -> None:
    async def main() -> None:
        server = FakeRedis()
        async with server.listening():
            connection = await server.connect()
            await connection.open()
            # uvloop raises RuntimeError here ("the handler is closed"), which is no OSError.
            connection._raw._writer.transport.abort()  # type: ignore[attr-defined]
            await asyncio.sleep(0.05)
            with pytest.raises(CONNECTION_ERRORS):
                await connection.send([("PING",)])
            await connection.drop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("part", ["send", "read"])
def test_a_defect_is_not_taken_for_a_lost_connection(part: str) -> None:
    async def broken(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("read() called while another coroutine is already waiting for incoming data")

    async def main() -> None:
        server = FakeRedis()
        async with server.listening():
            connection = await server.connect()
            await connection.open()
            raw = connection._raw
            raw.read_response = raw.send_packed_command = broken  # type: ignore[method-assign, assignment]
            with pytest.raises(RuntimeError, match="another coroutine"):
                await (connection.read() if part == "read" else connection.send([("PING",)]))
            await connection.drop()

    asyncio.run(main())
