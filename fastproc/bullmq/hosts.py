"""The services of a queue as they show themselves in Redis: each supervisor's snapshot, under the queue's own prefix.

Rule 1: a snapshot lies at `<prefix>:<queue>:fastproc:host:<host>:<number>` and expires: what is there, runs. The set
        `...:fastproc:hosts` names them; whoever reads takes out those that have expired.
Rule 2: what is read may have been written by anybody: what is not as we write it is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import msgspec

from fastproc.bullmq.call import Call
from fastproc.bullmq.connection import lacks_right
from fastproc.bullmq.protocol import Keys, text
from fastproc.core.errors import QueueRefused, QueueUnavailable
from fastproc.core.snapshot import Snapshot

#: Life of a snapshot: five times as long as the pause between two.
LIFE_MS: Final = 10_000
#: Life of the set of names, which each supervisor prolongs.
NAMES_LIFE_MS: Final = 24 * 3600 * 1000
#: A snapshot of 256 workers has some 80 kB.
MAX_BYTES: Final = 1 << 20

_SNAPSHOTS: Final = msgspec.json.Decoder(Snapshot)


class Board:
    """Where one supervisor shows itself. Satisfies the port of `supervisor.showing`."""

    def __init__(self, call: Call, keys: Keys) -> None:
        self._call, self._keys = call, keys
        self._name = ""

    async def show(self, snapshot: Snapshot) -> float:
        """Show it in place of the one before; return the seconds that Redis took.

        Raises QueueRefused where a right is missing; QueueUnavailable.
        """
        self._name, began = f"{snapshot.host}:{snapshot.number}", time.monotonic()
        commands = (
            self._call("SET", _key(self._keys, self._name), msgspec.json.encode(snapshot), "PX", LIFE_MS),
            self._call("SADD", _names(self._keys), self._name),
            self._call("PEXPIRE", _names(self._keys), NAMES_LIFE_MS),
        )
        try:
            await asyncio.gather(*commands)
        except QueueRefused as error:
            if lacks_right(error):
                raise
            # How the server stands (no replicas, no memory) is an outage, which has its own line in the log.
            raise QueueUnavailable(str(error)) from None
        return time.monotonic() - began

    async def leave(self) -> None:
        """Show nothing any more. Raises QueueUnavailable."""
        if self._name:
            await asyncio.gather(
                self._call("DEL", _key(self._keys, self._name)),
                self._call("SREM", _names(self._keys), self._name),
            )


async def read(call: Call, keys: Keys) -> list[Snapshot]:
    """Return the newest snapshot of every supervisor that runs, by host and number. Raises QueueUnavailable."""
    names = sorted(text(raw) for raw in await call("SMEMBERS", _names(keys)))
    values = await asyncio.gather(*(call("GET", _key(keys, name)) for name in names))
    gone = [name for name, value in zip(names, values, strict=True) if value is None]
    if gone:
        # A reader without this right leaves that to others.
        with contextlib.suppress(QueueRefused):
            await call("SREM", _names(keys), *gone)
    found = [snapshot for value in values if value is not None and (snapshot := _snapshot(value))]
    return sorted(found, key=lambda each: (each.host, each.number))


def _snapshot(value: bytes) -> Snapshot | None:
    try:
        return _SNAPSHOTS.decode(value) if len(value) <= MAX_BYTES else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _key(keys: Keys, name: str) -> str:
    return keys(f"fastproc:host:{name}")


def _names(keys: Keys) -> str:
    return keys("fastproc:hosts")
