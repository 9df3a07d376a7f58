"""Three read-only routes: is it alive, does it take work, how does it do.

Rule 1: /health says that the service itself is alive: that its event loop turns, that no job or loop of it is stuck
        (`watchdog`), and that it takes jobs that wait (`core.health`). An orchestrator restarts what fails it, and a
        restart does not mend Redis. /ready says whether jobs can be processed now, and what is missing.
Rule 2: a connection serves one request, and `door` bounds their number and life. Where no descriptor is left, uvloop
        closes what comes, without a line in the log, and goes on when there are some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from fastproc.core.errors import Unreachable
from fastproc.supervisor.door import Door
from fastproc.supervisor.health import Health
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.readiness import Readiness


class HttpServer:
    """Serves /health, /ready and /metrics."""

    def __init__(self, host: str, port: int, readiness: Readiness, metrics: Metrics, health: Health) -> None:
        self._host, self._port = host, port
        self._readiness, self._metrics = readiness, metrics
        self._doing = health
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self.door: Door | None = None

    async def start(self) -> None:
        """Listen. Raises Unreachable when the address cannot be used."""
        app = web.Application(middlewares=[_once])
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics_text)
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

    async def _health(self, _request: web.Request) -> web.Response:
        failing, body = self._doing.answer()
        return _json(503 if failing else 200, body)

    async def _ready(self, _request: web.Request) -> web.Response:
        now = self._readiness.now()
        problems = {"problems": now.problems} if now.problems else {}
        status = "ready" if now.ready else "not ready"
        return _json(200 if now.ready else 503, {"status": status, **now.conditions, **problems})

    async def _metrics_text(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._metrics.text(), headers=headers)


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


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
