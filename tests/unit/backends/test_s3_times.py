"""One timer for the deadlines of all requests, and headers as they were sent."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fastproc.backends.s3_times import Deadlines, Late, Timeouts, Timer
from fastproc.backends.s3_wire.heads import Head
from fastproc.backends.s3_wire.transfers import Ask


async def test_each_transfer_fails_at_its_own_deadline_in_whatever_order_they_began() -> None:
    loop, ours, theirs = asyncio.get_running_loop(), *socket.socketpair()
    with ours, theirs:
        deadlines, ended = Deadlines(), []
        for total_s in (3600.0, 0.02, 0.06):
            future: asyncio.Future[None] = loop.create_future()
            deadlines.watch(Ask(ours, b""), Timer(Timeouts(total_s=total_s), has_body=True), future)
            ended.append(future)
        # The last is found by the timer that the second has set.
        with pytest.raises(Late, match=r"0\.06 s"):
            await asyncio.wait_for(ended[2], 10)
        assert isinstance(ended[1].exception(), Late)
        assert not ended[0].done()
        deadlines.close()


def test_a_repeated_header_is_joined_and_names_have_no_case() -> None:
    head = Head(b"HTTP/1.1 200 OK\r\nVary: a\r\nvary: b\r\nContent-Length: 0\r\n\r\n")
    assert head.headers["VARY"] == "a, b"
    assert "content-length" in head.headers
    assert sorted(head.headers) == ["content-length", "vary"]
