"""Calls BullMQ's scripts by their hash, over the pipe, and loads those that the server has forgotten.

Rule 1: scripts are loaded when a connection is made. NOSCRIPT means that nothing ran (SCRIPT FLUSH): the script is
        loaded and the call is sent again, once.
Rule 2: what nobody waits for is sent again too, in its order, so that a job's progress does not go back: while the
        script is loaded, later calls of it are held.
Rule 3: a call that is refused before anything was done reports an outage: the server takes no writes, or none of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastproc.bullmq.connection import ReplyError
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Arg, Keys
from fastproc.bullmq.scripts import Script

log = logging.getLogger(__name__)


class _Loading:
    """A script that is loaded again: the calls that have failed for want of it, and those held meanwhile."""

    def __init__(self) -> None:
        self.failed: list[Sequence[Arg]] = []
        self.held: list[Sequence[Arg]] = []


class ScriptCalls:
    """The scripts of one queue."""

    def __init__(self, pipe: Pipe, keys: Keys, scripts: Mapping[str, Script]) -> None:
        self._pipe, self._keys, self._scripts = pipe, keys, scripts
        self._names = {script.sha1: name for name, script in scripts.items()}
        self._loading: dict[str, _Loading] = {}

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
        if name in self._loading:
            self._loading[name].held.append(command)
        else:
            self._pipe.call(*command).add_done_callback(self._answered)

    def _answered(self, call: asyncio.Future[Any]) -> None:
        if call.cancelled() or (error := call.exception()) is None:
            return
        if not isinstance(error, ReplyError) or not _unknown_script(error):
            _log_failure(call)
            return
        name = self._names[str(error.command[1])]
        if name not in self._loading:
            self._loading[name] = _Loading()
            self._load(name).add_done_callback(lambda _: self._loaded(name))
        self._loading[name].failed.append(error.command)

    def _loaded(self, name: str) -> None:
        # Every call that was sent before the script was loaded has been answered by now.
        loading = self._loading.pop(name)
        for command in (*loading.failed, *loading.held):
            self._pipe.call(*command).add_done_callback(_log_failure)

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


def _unknown_script(error: ReplyError) -> bool:
    return str(error).startswith("NOSCRIPT")


def _log_failure(call: asyncio.Future[Any]) -> None:
    if not call.cancelled() and call.exception():
        log.debug("queue: progress, log row or marker not written: %s", call.exception())
