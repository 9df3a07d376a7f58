"""Calls BullMQ's scripts by their hash, over the pipe, and loads those that the server has forgotten.

Rule 1: scripts are loaded when a connection is made. NOSCRIPT means that nothing ran (SCRIPT FLUSH): the script is
        loaded and the call is sent again, once.
Rule 2: what nobody waits for is sent again too. Of the calls whose newest one counts, only that is: a job's progress
        does not go back.
Rule 3: a call that is refused before anything was done reports an outage: the server takes no writes, or none of ours.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastproc.bullmq.connection import ReplyError
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Arg, Keys
from fastproc.bullmq.scripts import Script

log = logging.getLogger(__name__)


class ScriptCalls:
    """The scripts of one queue."""

    def __init__(self, pipe: Pipe, keys: Keys, scripts: Mapping[str, Script]) -> None:
        self._pipe, self._keys, self._scripts = pipe, keys, scripts
        #: The number of the newest call by `send_newest`, for each job that has one under way.
        self._newest: dict[str, int] = {}
        self._numbers = itertools.count()

    async def run(
        self, name: str, args: Sequence[Arg], job_id: str = "", target: str = "", *, wake: bool = False
    ) -> Any:
        """Call a script and return its reply; `wake` wakes a waiting worker after it, in the same batch.

        Raises: QueueUnavailable, QueueRefused.
        """
        command = self._command(name, args, job_id, target)
        try:
            try:
                return await self._call(command, wake)
            except ReplyError as error:
                if not _unknown_script(error):
                    raise
            await self._load(name)
            return await self._call(command, wake)
        except ReplyError as error:
            if not error.in_part:
                self._pipe.outage.failed("commands", str(error))
            raise

    def send(self, name: str, args: Sequence[Arg], job_id: str) -> None:
        """Call a script, before anything that is called later. Nobody waits for the reply."""
        command = self._command(name, args, job_id)

        def answered(call: asyncio.Future[Any]) -> None:
            self._send_again_if_unknown(call, name, command)

        self._pipe.call(*command).add_done_callback(answered)

    def send_newest(self, name: str, args: Sequence[Arg], job_id: str) -> None:
        """As `send`, for a call that makes the earlier ones of the same job pointless."""
        command = self._command(name, args, job_id)
        number = self._newest[job_id] = next(self._numbers)

        def answered(call: asyncio.Future[Any]) -> None:
            if self._newest.get(job_id) == number:
                del self._newest[job_id]
                self._send_again_if_unknown(call, name, command)

        self._pipe.call(*command).add_done_callback(answered)

    def _send_again_if_unknown(self, call: asyncio.Future[Any], name: str, command: Sequence[Arg]) -> None:
        if not call.cancelled() and _unknown_script(call.exception()):
            self._load(name).add_done_callback(_log_failure)
            self._pipe.call(*command).add_done_callback(_log_failure)
        else:
            _log_failure(call)

    def _call(self, command: Sequence[Arg], wake: bool) -> asyncio.Future[Any]:
        called = self._pipe.call(*command)
        if wake:
            self._pipe.call("ZADD", self._keys("marker"), 0, "0").add_done_callback(_log_failure)
        return called

    def _load(self, name: str) -> asyncio.Future[Any]:
        return self._pipe.call("SCRIPT", "LOAD", self._scripts[name].source)

    def _command(self, name: str, args: Sequence[Arg], job_id: str, target: str = "") -> list[Arg]:
        script = self._scripts[name]
        keys = self._keys.of_script(name, script.arity, job_id, target)
        return ["EVALSHA", script.sha1, len(keys), *keys, *args]


def _unknown_script(error: BaseException | None) -> bool:
    return isinstance(error, ReplyError) and str(error).startswith("NOSCRIPT")


def _log_failure(call: asyncio.Future[Any]) -> None:
    if not call.cancelled() and call.exception():
        log.debug("queue: progress, log row or marker not written: %s", call.exception())
