"""Calls scripts by their hash, over the pipe, and loads those that the server has forgotten.

Rule 1: scripts are loaded when a connection is made. NOSCRIPT means that nothing ran (SCRIPT FLUSH): the script is
        loaded and the call is sent again, once.
Rule 2: marks, which nobody waits for, gather until the next call or for LINGER_S, and are written before what is called
        later. They are sent again too, in their order, so that a job's progress does not go back: while their script is
        loaded, later ones are held.
Rule 3: a call that is refused before anything was done reports an outage: the server takes no writes, or none of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastproc.bullmq.connection import ReplyError
from fastproc.bullmq.marks import SCRIPT, Marks
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Arg, Keys
from fastproc.bullmq.scripts import Script

log = logging.getLogger(__name__)


class ScriptCalls:
    """The scripts of one queue."""

    def __init__(self, pipe: Pipe, keys: Keys, scripts: Mapping[str, Script]) -> None:
        self._pipe, self._keys, self._scripts = pipe, keys, scripts
        #: Marks that may be added to, and those that are held while their script is loaded, with the calls to repeat.
        self._marks: Marks | None = None
        self._loading = False
        self._again: list[Sequence[Arg]] = []
        self._held: list[Marks] = []

    @property
    def marks(self) -> Marks:
        """Where progress and log rows go: they are written before anything that is called later."""
        marks = self._marks
        if marks is None or not marks.is_open:
            marks = self._marks = Marks(self._keys)
            if self._loading:
                self._held.append(marks)
            else:
                self._send(marks)
        return marks

    async def run(
        self, name: str, args: Sequence[Arg], job_id: str = "", target: str = "", *, wake: bool = False
    ) -> Any:
        """Call a script and return its reply; `wake` wakes a waiting worker after it, in the same batch.

        Raises: QueueUnavailable, QueueRefused.
        """
        command = self._command(name, args, job_id, target)
        self._marks = None
        try:
            try:
                return await self._call(command, wake)
            except ReplyError as error:
                if not _unknown_script(error):
                    raise
            await self._load(self._scripts[name].source)
            return await self._call(command, wake)
        except ReplyError as error:
            if not error.in_part:
                self._pipe.outage.failed("commands", str(error))
            raise

    def _send(self, marks: Marks) -> None:
        self._pipe.call_late(marks.command).add_done_callback(self._answered)

    def _answered(self, call: asyncio.Future[Any]) -> None:
        if call.cancelled() or (error := call.exception()) is None:
            return
        if not isinstance(error, ReplyError) or not _unknown_script(error):
            _log_failure(call)
            return
        if not self._loading:
            self._loading = True
            self._load(SCRIPT).add_done_callback(self._loaded)
        self._again.append(error.command)

    def _loaded(self, _: asyncio.Future[Any]) -> None:
        # Every call that was sent before the script was loaded has been answered by now.
        self._loading = False
        again, self._again = self._again, []
        held, self._held = self._held, []
        for command in again:
            self._pipe.call(*command).add_done_callback(_log_failure)
        for marks in held:
            self._send(marks)

    def _call(self, command: Sequence[Arg], wake: bool) -> asyncio.Future[Any]:
        called = self._pipe.call(*command)
        if wake:
            self._pipe.call("ZADD", self._keys("marker"), 0, "0").add_done_callback(_log_failure)
        return called

    def _load(self, source: str) -> asyncio.Future[Any]:
        return self._pipe.call("SCRIPT", "LOAD", source)

    def _command(self, name: str, args: Sequence[Arg], job_id: str, target: str = "") -> list[Arg]:
        script = self._scripts[name]
        keys = self._keys.of_script(name, script.arity, job_id, target)
        return ["EVALSHA", script.sha1, len(keys), *keys, *args]


def _unknown_script(error: ReplyError) -> bool:
    return str(error).startswith("NOSCRIPT")


def _log_failure(call: asyncio.Future[Any]) -> None:
    if not call.cancelled() and call.exception():
        log.debug("queue: progress, log row or marker not written: %s", call.exception())
