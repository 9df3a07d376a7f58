"""A Lua script and its call by hash over a plain connection: for what is called so seldom that nothing loads it before.

Rule 1: NOSCRIPT means that nothing ran: the script is loaded, and the call is sent again, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fastproc.bullmq.call import Call
from fastproc.bullmq.protocol import Arg
from fastproc.core.errors import QueueRefused


class Lua:
    """A script's text, and the SHA-1 that Redis knows it by."""

    def __init__(self, source: str) -> None:
        self.source, self.sha1 = source, hashlib.sha1(source.encode()).hexdigest()

    async def run(self, call: Call, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """Call it and return its reply. Raises QueueUnavailable, QueueRefused."""
        command: list[Arg] = ["EVALSHA", self.sha1, len(keys), *keys, *args]
        try:
            return await call(*command)
        except QueueRefused as refused:
            if not str(refused).startswith("NOSCRIPT"):
                raise
        await call("SCRIPT", "LOAD", self.source)
        return await call(*command)
