"""Listens for HTTP requests and answers each on a connection of its own: the part of a server that knows no route.

Rule 1: a connection serves one request, and `door` bounds their number and life. Where no descriptor is left, uvloop
        closes what comes, without a line in the log, and goes on when there are some.
Rule 2: a body may have MAX_BODY_BYTES, and is read for a route of its method alone.
Rule 3: who reads a feed too slowly is dropped: after SLOW_S in which nothing more went out, or when its host has
        confirmed nothing for GONE_MS.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from aiohttp import web

from fastproc.core.errors import Unreachable
from fastproc.supervisor.door import Door
from fastproc.supervisor.requests import Feed, Reply, Request, Route

#: Returns the status, the body and its type.
Answer = Callable[[], Awaitable[tuple[int, bytes, str]]]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: An operator's act has some hundred bytes; a list of job ids has more.
MAX_BODY_BYTES: Final = 64 << 10
#: A feed's part has some kilobytes: a reader that takes none of it for so long shows nothing that is true any more.
SLOW_S: Final = 5.0
#: TCP_USER_TIMEOUT: without it, a phone that has left the network keeps its place for a quarter of an hour.
GONE_MS: Final = 20_000
#: Of every answer: no browser or proxy keeps it, and none guesses what it is.
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Listening:
    """Serves GET requests at `host`:`port`, by path; `routes` are by method and path."""

    def __init__(
        self,
        host: str,
        port: int,
        answers: Mapping[str, Answer],
        routes: Mapping[tuple[str, str], Route] | None = None,
    ) -> None:
        self._host, self._port, self._answers, self._routes = host, port, answers, routes or {}
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._feeding: set[asyncio.Task[object]] = set()
        self.door: Door | None = None

    async def start(self) -> None:
        """Listen. Raises Unreachable when the address cannot be used."""
        app = web.Application(middlewares=[_once], client_max_size=MAX_BODY_BYTES)
        for path, answer in self._answers.items():
            app.router.add_get(path, _handler(answer))
        for (method, path), route in self._routes.items():
            app.router.add_route(method, path, self._routed(route))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            assert self._runner.server is not None
            self.door = Door(self._runner.server)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self.door, self._host, self._port)
            for listening in self._server.sockets:
                _give_up_early(listening.fileno())
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
        for task in self._feeding:
            task.cancel()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def _routed(self, route: Route) -> _Handler:
        async def answered(request: web.Request) -> web.StreamResponse:
            asked = Request(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.read(),
                peer=request.remote or "",
                stay=lambda: self._stay(request),
            )
            reply = await route(asked)
            return await self._fed(request, reply) if isinstance(reply, Feed) else _whole(reply)

        return answered

    def _stay(self, request: web.Request) -> None:
        if self.door and request.transport:
            self.door.stay(request.transport)

    async def _fed(self, request: web.Request, feed: Feed) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": feed.kind, **feed.headers})
        response.force_close()
        self._stay(request)
        task = asyncio.current_task()
        assert task is not None
        self._feeding.add(task)
        try:
            await response.prepare(request)
            async with contextlib.aclosing(feed.parts) as parts:
                async for part in parts:
                    async with asyncio.timeout(SLOW_S):
                        await response.write(part)
        except (TimeoutError, ConnectionError):
            # It does not read, or is gone: nobody misses the rest.
            if request.transport:
                request.transport.abort()
        finally:
            self._feeding.discard(task)
        return response


def json_answer(status: int, body: Mapping[str, object]) -> tuple[int, bytes, str]:
    """Return an answer in JSON."""
    return status, msgspec.json.encode(body), "application/json"


def metrics_answer(text: bytes) -> tuple[int, bytes, str]:
    """Return an answer in Prometheus' text format."""
    return 200, text, "text/plain; version=0.0.4; charset=utf-8"


def _handler(answer: Answer) -> _Handler:
    async def answered(_request: web.Request) -> web.StreamResponse:
        status, body, kind = await answer()
        return _whole(Reply(status=status, body=body, kind=kind))

    return answered


def _whole(reply: Reply) -> web.Response:
    headers = {**HEADERS, "Content-Type": reply.kind, **reply.headers}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


@web.middleware
async def _once(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Close the connection after its answer."""
    try:
        answer = await handler(request)
    except web.HTTPException as refusal:
        refusal.headers.update(HEADERS)
        refusal.force_close()
        raise
    answer.force_close()
    return answer


def _give_up_early(fd: int) -> None:
    """Bound how long bytes may stay unconfirmed. Source: tcp(7): connections inherit it from the listening socket."""
    with socket.socket(fileno=os.dup(fd)) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
