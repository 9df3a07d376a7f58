"""Starts supervisors, starts them again, and ends with all of them: what runs where one supervisor is not enough.

Rule 1: `core.restarts` decides; here processes are started and waited for.
Rule 2: a request to stop goes to every supervisor over its link, in the same two steps; each has the grace period at
        the same time. One that is still there STOP_S after it is killed.
Rule 3: when the master dies, every supervisor sees the end of its link and ends; when a supervisor dies, its workers
        see the end of their channel. No signal and no pid file is needed for either.
Rule 4: `answers` speaks for all, and `desk` for the operator's page.
Rule 5: supervisors hear an operator's orders themselves, by Redis; the master remembers those that hold, as long as
        the service lives, and tells them to a supervisor that is started again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from msgspec import Struct

from fastproc.core import control, health
from fastproc.core.control import Order
from fastproc.core.errors import FleetHalted
from fastproc.core.fields import fields
from fastproc.core.restarts import Cause, Halt, Restarts
from fastproc.core.shares import Share
from fastproc.desk.port import Rules as Page
from fastproc.desk.routes import Counter
from fastproc.master.answers import Answers
from fastproc.master.desk import MasterDesk
from fastproc.master.outages import SharedOutages
from fastproc.master.process import Command, SupervisorProcess, how
from fastproc.supervisor.listening import Listening, json_answer, metrics_answer
from fastproc.supervisor.stopping import StopRequest

log = logging.getLogger(__name__)

#: How much longer than the grace a supervisor may take to end (it closes within 3 s: `supervisor.service`).
STOP_S: Final = 5.0

#: Exit codes of a supervisor, sysexits.h (`terminal.exits`); what is not here was no end of its own.
_CAUSES: Final = {
    os.EX_OK: Cause.ASKED,
    os.EX_CONFIG: Cause.CONFIG,
    os.EX_UNAVAILABLE: Cause.UNREACHABLE,
    os.EX_SOFTWARE: Cause.HALTED,
}
_CODES: Final = {cause: code for code, cause in _CAUSES.items()} | {Cause.KILLED: os.EX_SOFTWARE}


class Rules(Struct, frozen=True, kw_only=True):
    """How many supervisors, and the settings that are the master's: SHUTDOWN_GRACE_S, HTTP_HOST, HTTP_PORT ..."""

    supervisors: int
    grace_s: float
    host: str
    port: int
    log_s: float
    page: Page = Page()


class Master:
    """Runs the supervisors that `command` starts."""

    def __init__(self, rules: Rules, command: Command) -> None:
        self._rules, self._command = rules, command
        self._stop = StopRequest()
        self._restarts = Restarts(rules.supervisors)
        self._living: dict[int, SupervisorProcess] = {}
        self._tasks: dict[asyncio.Task[int], int] = {}
        self._changed = asyncio.Event()
        self._outages = SharedOutages()
        self._kept: tuple[Order, ...] = ()
        self._answers = Answers(rules.supervisors, lambda: self._living, self._serves)

    def stop(self) -> None:
        """Ask all to finish their jobs and end; called again, to end without waiting for them."""
        self._stop.ask()

    async def run(self) -> int:
        """Run until `stop`; return the exit code. Raises Unreachable for the HTTP port; FleetHalted."""
        async with AsyncExitStack() as stack:
            if self._rules.port:
                await self._serve_http(stack)
            if self._rules.log_s:
                stack.callback(asyncio.create_task(self._log_without_end(), name="figures").cancel)
            halt = await self._until_stopped()
            codes = await self._end()
        if halt is None:
            # One that did not end by itself may have left jobs that are found stalled.
            return next((code if code > 0 else os.EX_SOFTWARE for code in codes if code), os.EX_OK)
        if not halt.told:
            raise FleetHalted(halt.why)
        return _CODES[halt.cause]

    async def _serve_http(self, stack: AsyncExitStack) -> None:
        answers = {"/health": self._health, "/ready": self._ready, "/metrics": self._metrics}
        desk = MasterDesk(self._rules.page.host, lambda: self._living, self._serves)
        routes = Counter(desk, self._rules.page).routes()
        http = Listening(self._rules.host, self._rules.port, answers, routes)
        await http.start()
        stack.push_async_callback(http.close)

    async def _until_stopped(self) -> Halt | None:
        """Keep supervisors running until the stop, or until all must end: return why."""
        stop = asyncio.create_task(self._stop.asked.wait())
        try:
            while not stop.done():
                now = time.monotonic()
                for number in self._restarts.due(now):
                    self._start(number, now)
                if halt := await self._next(stop):
                    return halt
            return None
        finally:
            stop.cancel()

    async def _next(self, stop: asyncio.Task[bool]) -> Halt | None:
        """Wait for the next end of a supervisor, or for whatever else there is to do."""
        self._changed.clear()
        changed, due = asyncio.create_task(self._changed.wait()), self._restarts.next_at()
        timeout = None if due is None else max(0.0, due - time.monotonic())
        try:
            waits = (stop, changed, *self._tasks)
            done, _ = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        halts = [self._ended(task) for task in list(self._tasks) if task in done]
        return next((halt for halt in halts if halt), None)

    def _start(self, number: int, now: float) -> None:
        again = self._restarts.places[number].starts > 0
        share = Share(number, self._rules.supervisors, again)
        try:
            process = SupervisorProcess(
                share,
                self._command,
                on_serving=lambda: self._served(number),
                on_outage=partial(self._outages.heard, number),
                on_kept=self._keep,
            )
        except OSError as error:
            about = fields(supervisor=number)
            log.warning("supervisor %d: the kernel refuses the process: %s", number, error, extra=about)
            self._restarts.refused(number, now, random.random())
            return
        process.keep(self._kept)
        self._restarts.started(number, now)
        if again:
            self._answers.restarts.inc()
        self._living[number] = process
        self._tasks[asyncio.create_task(process.run(), name=f"supervisor {number}")] = number
        about = fields(supervisor=number, pid=process.pid)
        log.info("supervisor %d of %d has pid %d", number, self._rules.supervisors, process.pid, extra=about)

    def _serves(self, number: int) -> bool:
        return self._restarts.places[number].serves

    def _keep(self, orders: Sequence[Order]) -> None:
        self._kept = control.newest(self._kept, orders)

    def _served(self, number: int) -> None:
        # It hears by itself from now on; what came before is told.
        self._living[number].keep(self._kept)
        self._restarts.served(number)
        self._changed.set()

    def _ended(self, task: asyncio.Task[int]) -> Halt | None:
        number = self._left(task)
        code, now = task.result(), time.monotonic()
        cause, place = _CAUSES.get(code, Cause.KILLED), self._restarts.places[number]
        halt = self._restarts.ended(number, cause, how(code), now, random.random())
        if halt:
            about = fields(supervisor=number, how=how(code))
            log.error("supervisor %d ended: %s; all end", number, how(code), extra=about)
        else:
            pause_s = max(0.0, (place.start_at or now) - now)
            words = "supervisor %d ended: %s; it is started again in %.1f s"
            about = fields(supervisor=number, how=how(code), delayMs=round(pause_s * 1000))
            log.warning(words, number, how(code), pause_s, extra=about)
        return halt

    def _left(self, task: asyncio.Task[int]) -> int:
        number = self._tasks.pop(task)
        self._answers.ended(number, self._living.pop(number).told)
        self._outages.gone(number)
        return number

    async def _end(self) -> list[int]:
        """Stop all that live, within the grace; return their exit codes."""
        tasks, rules = set(self._tasks), self._rules
        if not tasks:
            return []
        log.info("stopping %d supervisors, %g s for their jobs (SHUTDOWN_GRACE_S)", len(tasks), rules.grace_s)
        self._order(hurry=self._stop.hurried.is_set())
        hurried = asyncio.create_task(self._hurry(), name="hurry")
        until = time.monotonic() + rules.grace_s + STOP_S
        while left := {task for task in tasks if not task.done()}:
            for task in (tasks - left) & self._tasks.keys():  # /health would say that they stand still.
                self._left(task)
            if self._stop.hurried.is_set():
                until = min(until, time.monotonic() + STOP_S)
            if (rest_s := until - time.monotonic()) <= 0:
                self._kill(left)
                await asyncio.wait(left)
                break
            waits = left if hurried.done() else {*left, hurried}
            await asyncio.wait(waits, timeout=rest_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        for task in tasks & self._tasks.keys():
            self._left(task)
        return [task.result() for task in tasks]

    def _kill(self, tasks: set[asyncio.Task[int]]) -> None:
        for number in (self._tasks[task] for task in tasks):
            words = "supervisor %d did not stop in time and is killed; its jobs will be found stalled"
            log.error(words, number, extra=fields(supervisor=number))
            self._living[number].kill()

    async def _hurry(self) -> None:
        await self._stop.hurried.wait()
        self._order(hurry=True)

    def _order(self, *, hurry: bool) -> None:
        for process in self._living.values():
            process.stop(hurry=hurry)

    async def _log_without_end(self) -> None:
        while True:
            await asyncio.sleep(self._rules.log_s)
            _, body = await self._answers.health()
            level = logging.INFO if body["status"] == "healthy" else logging.WARNING
            log.log(level, "%s", health.line_of(body))

    async def _health(self) -> tuple[int, bytes, str]:
        failing, body = await self._answers.health()
        return json_answer(503 if failing else 200, body)

    async def _ready(self) -> tuple[int, bytes, str]:
        is_ready, body = await self._answers.ready()
        return json_answer(200 if is_ready else 503, body)

    async def _metrics(self) -> tuple[int, bytes, str]:
        return metrics_answer(await self._answers.metrics())
