"""Three read-only routes: is it alive, does it take work, how does it do.

Rule 1: /health says that the event loop turns, nothing more: an orchestrator restarts what fails it, and a restart
        does not mend Redis. /ready says whether jobs can be processed now, and what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from fastproc.core.errors import Unreachable
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.readiness import Readiness


class HttpServer:
    """Serves /health, /ready and /metrics."""

    def __init__(self, host: str, port: int, readiness: Readiness, metrics: Metrics) -> None:
        self._host, self._port = host, port
        self._readiness, self._metrics = readiness, metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises Unreachable when the address cannot be used."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics_text)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.close()
            raise Unreachable(
                f"cannot listen on {self._host}:{self._port} (HTTP_HOST, HTTP_PORT): {error}"
            ) from None

    async def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def _ready(self, _request: web.Request) -> web.Response:
        now = self._readiness.now()
        problems = {"problems": now.problems} if now.problems else {}
        status = "ready" if now.ready else "not ready"
        return _json(200 if now.ready else 503, {"status": status, **now.conditions, **problems})

    async def _metrics_text(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._metrics.text(), headers=headers)


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
