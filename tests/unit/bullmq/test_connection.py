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
