"""The three routes, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import pytest

from fastproc.core.errors import Unreachable
from fastproc.embedded.child import free_ports
from fastproc.supervisor import listening
from fastproc.supervisor.door import MAX_CONNECTIONS, MAX_STAYING
from fastproc.supervisor.health import Health
from fastproc.supervisor.http import HttpServer
from fastproc.supervisor.listening import Listening
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.readiness import Readiness
from fastproc.supervisor.requests import Feed, Request


class Site:
    """A running server and what it is told."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.metrics = Metrics()
        self.readiness = Readiness()
        self.readiness.started = True
        self.redis = ""
        self.readiness.watch("redis", lambda: self.redis)
        self.health = Health(self.readiness)
        self.server = HttpServer(("127.0.0.1", self.port), self.readiness, self.metrics, self.health)

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
            return answer.status, answer.headers["Content-Type"], await answer.text()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.server.start()
    yield made
    await made.server.close()


async def test_health_says_that_the_process_lives_whatever_is_missing(site: Site) -> None:
    site.redis = "it refused us"
    status, kind, body = await site.get("/health")
    assert (status, kind, json.loads(body)["status"]) == (200, "application/json", "healthy")
    assert json.loads(body)["held"] == "redis: it refused us"


async def test_ready_says_yes_when_nothing_is_wrong(site: Site) -> None:
    status, _, body = await site.get("/ready")
    assert (status, body) == (200, '{"status":"ready","started":true,"redis":true}')


async def test_ready_says_no_what_is_missing_and_why(site: Site) -> None:
    site.redis = "it refused us"
    status, _, body = await site.get("/ready")
    assert status == 503
    assert json.loads(body) == {
        "status": "not ready",
        "started": True,
        "redis": False,
        "problems": {"redis": "it refused us"},
    }


async def test_a_service_that_does_not_serve_yet_is_not_ready(site: Site) -> None:
    site.readiness.started = False
    status, _, body = await site.get("/ready")
    assert status == 503
    assert json.loads(body)["problems"] == {"started": "the service is starting or stopping"}


async def test_metrics_are_in_the_format_that_prometheus_reads(site: Site) -> None:
    site.metrics.taken()
    status, kind, body = await site.get("/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=0.0.4")
    assert "fastproc_jobs_taken_total 1.0" in body


async def test_nothing_else_is_served_and_nothing_can_be_sent(site: Site) -> None:
    assert (await site.get("/nothing"))[0] == 404
    assert (await site.get("/health", "POST"))[0] == 405
    assert (await site.get("/ready", "DELETE"))[0] == 405


async def test_health_names_what_was_found_and_fails_only_for_what_is_stuck(site: Site) -> None:
    site.readiness.found = lambda: ["the event loop was 2.0 s late"]
    status, _, body = await site.get("/health")
    assert (status, json.loads(body)["status"]) == (200, "healthy")
    assert json.loads(body)["problems"] == ["the event loop was 2.0 s late"]
    site.readiness.stuck = lambda: ["job 7 does not end: begun"]
    status, _, body = await site.get("/health")
    assert (status, json.loads(body)["status"]) == (503, "stuck")
    assert json.loads(body)["problems"][0] == "job 7 does not end: begun"


async def test_idle_connections_are_few_and_lock_no_probe_out(site: Site) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(100)]
    try:
        assert (await site.get("/health"))[0] == 200
        assert site.server.door is not None
        assert len(site.server.door) <= MAX_CONNECTIONS
        assert site.server.door.turned_out >= 100 - MAX_CONNECTIONS
        reader, _ = idle[0]
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
    finally:
        for _, writer in idle:
            writer.transport.abort()


async def test_a_connection_that_sends_nothing_is_closed(site: Site) -> None:
    assert site.server.door is not None
    site.server.door.life_s = 0.1
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost:")
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.transport.abort()


async def endless() -> AsyncGenerator[bytes, None]:
    while True:
        yield b"x" * 50_000
        await asyncio.sleep(0)


async def silent() -> AsyncGenerator[bytes, None]:
    yield b"x"
    await asyncio.Event().wait()


@pytest.fixture
async def feeding() -> AsyncIterator[Listening]:
    """A server whose /feed goes on without end, as fast as it is read."""

    async def feed(request: Request) -> Feed:
        parts.append(silent() if "silent" in request.query else endless())
        return Feed(parts=parts[-1], kind="text/event-stream")

    parts: list[AsyncGenerator[bytes, None]] = []
    made = Listening("127.0.0.1", free_ports(1)[0], {"/": lambda: answer("well")}, {("GET", "/feed"): feed})
    await made.start()
    yield made
    await made.close()


async def answer(text: str) -> tuple[int, bytes, str]:
    return 200, text.encode(), "text/plain"


async def opened(site: Listening, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site._port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the connection is closed within 5 s, however much was sent before."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(1 << 20):
                pass
    return True


async def test_feeds_outlive_other_connections_and_are_few(feeding: Listening) -> None:
    assert feeding.door is not None
    feeding.door.life_s = 0.2
    streams = [await opened(feeding, "/feed")]
    assert (await streams[0][0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    idle = await asyncio.open_connection("127.0.0.1", feeding._port)
    assert await ended(idle[0])
    # It has lived longer than that one.
    assert len(feeding.door) == 1
    assert await streams[0][0].readexactly(1 << 20)
    for _ in range(MAX_STAYING):
        streams.append(await opened(feeding, "/feed"))
        await streams[-1][0].readuntil(b"\r\n\r\n")
    assert await ended(streams[0][0])
    assert len(feeding.door) == MAX_STAYING
    # They take no probe's place.
    probe = await opened(feeding, "/")
    assert (await asyncio.wait_for(probe[0].read(), 5)).endswith(b"well")
    for _, writer in [*streams, idle, probe]:
        writer.transport.abort()


async def test_who_does_not_read_a_feed_is_dropped(
    feeding: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SLOW_S", 0.1)
    reader, writer = await opened(feeding, "/feed")
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    assert feeding.door is not None
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and len(feeding.door):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert len(feeding.door) == 0
    writer.transport.abort()


async def test_a_host_that_confirms_nothing_is_given_up(feeding: Listening) -> None:
    assert feeding._server is not None
    [ours] = feeding._server.sockets
    with socket.socket(fileno=os.dup(ours.fileno())) as copy:
        assert copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == listening.GONE_MS


@pytest.mark.parametrize("path", ["/feed", "/feed?silent=1"])
async def test_feeds_end_with_the_server(feeding: Listening, path: str) -> None:
    reader, writer = await opened(feeding, path)
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(5):
        await feeding.close()
    assert await ended(reader)
    writer.transport.abort()


async def test_a_connection_serves_one_request(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
    writer.transport.abort()


async def test_a_port_that_is_taken_is_one_message_that_names_the_variables() -> None:
    site = Site()
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.port))
        other.listen()
        with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{site.port} \(HTTP_HOST, HTTP_PORT\)"):
            await site.server.start()
    await site.server.close()


async def test_after_closing_the_port_is_free() -> None:
    site = Site()
    await site.server.start()
    await site.server.close()
    await site.server.close()
    await site.server.start()
    assert (await site.get("/health"))[0] == 200
    await site.server.close()
