"""A receiver of webhooks: a real HTTP server in a thread, which verifies with the library of Standard Webhooks."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
OLD_SECRET = "whsec_" + "b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xk"

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def take(request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


def status(code: int, text: str = "", **headers: str) -> Behaviour:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=code, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class Flood:
    """A success with a body that never ends."""

    written = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            self.written += 65536


def drip(code: int) -> Behaviour:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=code)
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.1)

    return answer


async def huge_headers(request: web.Request) -> web.StreamResponse:
    return web.Response(headers={f"X-{n}": "x" * 8000 for n in range(200)})


class Receiver:
    """Answers as `behave` says. `got` holds the events that were verified and taken.

    `heads` and `bodies` hold all that came, `refused` counts what was not signed with `secret`.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.behave: Behaviour = take
        self.secret = SECRET
        self.got: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.refused = 0
        self.port = 0
        self.underway = self.most_underway = 0
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        """The events' ids, without doubles, in the order of their first coming."""
        return list(dict.fromkeys(event["id"] for event in self.got))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.underway += 1
        self.most_underway = max(self.most_underway, self.underway)
        try:
            body = await request.read()
            self.heads.append(dict(request.headers))
            self.bodies.append(json.loads(body) if body else {})
            self.times.append(time.monotonic())
            try:
                Webhook(self.secret).verify(body, dict(request.headers))
            except WebhookVerificationError:
                self.refused += 1
                return web.Response(status=401, text="wrong signature")
            answer = await self.behave(request)
            if answer.status < 300:
                self.got.append(json.loads(body))
            return answer
        finally:
            self.underway -= 1


@contextmanager
def receiving(tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Receiver]:
    """Run a receiver; on the given port, or a free one."""
    receiver = Receiver(tls)
    receiver.port = port
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
