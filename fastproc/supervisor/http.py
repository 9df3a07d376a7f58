"""Three read-only routes of a supervisor: is it alive, does it take work, how does it do; and those of the page.

Rule 1: /health says that the service itself is alive: that its event loop turns, that no job or loop of it is stuck
        (`watchdog`), and that it takes jobs that wait (`core.health`). An orchestrator restarts what fails it, and a
        restart does not mend Redis. /ready says whether jobs can be processed now, and what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastproc.supervisor.health import Health
from fastproc.supervisor.listening import Listening, json_answer, metrics_answer
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.readiness import Readiness
from fastproc.supervisor.requests import Route


class HttpServer(Listening):
    """Serves /health, /ready and /metrics, and `routes` at `address`, host and port."""

    def __init__(
        self,
        address: tuple[str, int],
        readiness: Readiness,
        metrics: Metrics,
        health: Health,
        routes: Mapping[tuple[str, str], Route] | None = None,
    ) -> None:
        answers = {"/health": self._health, "/ready": self._ready, "/metrics": self._metrics_text}
        super().__init__(*address, answers, routes)
        self._readiness, self._metrics = readiness, metrics
        self._doing = health

    async def _health(self) -> tuple[int, bytes, str]:
        failing, body = self._doing.answer()
        return json_answer(503 if failing else 200, body)

    async def _ready(self) -> tuple[int, bytes, str]:
        now = self._readiness.now()
        problems = {"problems": now.problems} if now.problems else {}
        status = "ready" if now.ready else "not ready"
        return json_answer(200 if now.ready else 503, {"status": status, **now.conditions, **problems})

    async def _metrics_text(self) -> tuple[int, bytes, str]:
        return metrics_answer(self._metrics.text())
