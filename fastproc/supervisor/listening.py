"""Listens for HTTP requests and answers each on a connection of its own: the part of a server that knows no route.

Rule 1: a connection serves one request, and `door` bounds their number and life. Where no descriptor is left, uvloop
        closes what comes, without a line in the log, and goes on when there are some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from fastproc.core.errors import Unreachable
from fastproc.supervisor.door import Door

#: Returns the status, the body and its type.
Answer = Callable[[], Awaitable[tuple[int, bytes, str]]]


class Listening:
    """Serves GET requests at `host`:`port`, by path."""

    def __init__(self, host: str, port: int, answers: Mapping[str, Answer]) -> None:
        self._host, self._port, self._answers = host, port, answers
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self.door: Door | None = None

    async def start(self) -> None:
        """Listen. Raises Unreachable when the address cannot be used."""
        app = web.Application(middlewares=[_once])
        for path, answer in self._answers.items():
            app.router.add_get(path, _handler(answer))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            assert self._runner.server is not None
            self.door = Door(self._runner.server)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self.door, self._host, self._port)
        except OSError as error:
            await self.close()
            raise Unreachable(
                f"cannot listen on {self._host}:{self._port} (HTTP_HOST, HTTP_PORT): {error}"
            ) from None

    async def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._server:
            self._server.close()
            self._server = None
        if self.door:
            self.door.close()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None


def json_answer(status: int, body: Mapping[str, object]) -> tuple[int, bytes, str]:
    """Return an answer in JSON."""
    return status, msgspec.json.encode(body), "application/json"


def metrics_answer(text: bytes) -> tuple[int, bytes, str]:
    """Return an answer in Prometheus' text format."""
    return 200, text, "text/plain; version=0.0.4; charset=utf-8"


def _handler(answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answered(_request: web.Request) -> web.StreamResponse:
        status, body, kind = await answer()
        return web.Response(status=status, body=body, headers={"Content-Type": kind})

    return answered


@web.middleware
async def _once(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Close the connection after its answer."""
    try:
        answer = await handler(request)
    except web.HTTPException as refusal:
        refusal.force_close()
        raise
    answer.force_close()
    return answer
