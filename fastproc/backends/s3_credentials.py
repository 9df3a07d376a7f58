"""The credentials of this moment: given ones, or those of a provider that hands out new ones before they expire.

Rule 1: one look at the provider at a time, in a thread of its own: it may be slow, and the loop never waits for it.
Rule 2: new ones are looked for well before the old ones expire. As long as those are valid, a provider that is away
        stops nothing and is one line in the log.
Rule 3: without valid ones every request is StorageUnavailable: the store is away, no job is to blame.
Rule 4: what the server refused is looked up once more: keys may have been changed by hand.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct

from fastproc.backends.s3_signing import Credentials
from fastproc.core.errors import StorageUnavailable

log = logging.getLogger(__name__)

#: Seconds before their end at which new ones are looked for; for those that live shorter, the last third of their
#: life. Source: botocore's advisory refresh.
_AHEAD_S = 900.0
#: Less than this before their end they are not used any more: a request needs time to arrive.
_LEAST_S = 1.0
#: Between two looks while there are none, and at most while there are valid ones.
_RETRY_S, _RETRY_MAX_S = 1.0, 60.0
#: After a refusal by the server that new ones did not end, the next look.
_REFUSED_S = 30.0
#: A request waits so long for credentials; less than a probe's 2 s, so that its answer names them.
_WAIT_S = 1.5
#: A look that takes longer is given up, and another one begun.
_LOOK_S = 120.0


class Found(Struct, frozen=True):
    """Credentials and, in words, the provider that they are from."""

    credentials: Credentials
    provider: str


class Source(Protocol):
    """Where a request's credentials come from."""

    async def now(self, wait_s: float = _WAIT_S) -> Credentials:
        """Return valid ones; where there are none, wait for them a while. Raises StorageUnavailable."""

    def refused(self, access_key: str) -> None:
        """The server refused a request that was signed with this key."""

    @property
    def about(self) -> str:
        """Where they are from and until when they are valid, for people."""

    def close(self) -> None:
        """Let connections to providers go. Idempotent."""


class Given:
    """Keys out of the configuration: they change with a restart."""

    def __init__(self, credentials: Credentials, named_by: str) -> None:
        self._credentials, self.about = credentials, named_by

    async def now(self, wait_s: float = _WAIT_S) -> Credentials:
        return self._credentials

    def refused(self, access_key: str) -> None:
        """Nothing can be done."""

    def close(self) -> None:
        """There is nothing to let go."""


class Renewed:
    """Credentials of a provider. `look` asks it, in a thread; it raises what is put into words by `str`.

    `forget` lets go what it holds between two looks.
    """

    def __init__(self, look: Callable[[], Found], forget: Callable[[], None] = lambda: None) -> None:
        self._look, self.close = look, forget
        self._found: Found | None = None
        self._since = 0.0
        self._looking: asyncio.Future[None] | None = None
        self._began = self._next_look = self._next_refusal = 0.0
        self._why = ""
        self._is_refused = False

    @property
    def about(self) -> str:
        if self._found is None:
            return f"credentials: {self._why or 'not looked for yet'}"
        expires = self._found.credentials.expires
        until = f", valid until {_utc(expires)}" if expires else ", without an end"
        return f"credentials of {self._found.provider}{until}"

    async def now(self, wait_s: float = _WAIT_S) -> Credentials:
        """Return valid ones, at once where there are some. Raises StorageUnavailable."""
        found = self._valid()
        if found is None or self._is_refused:
            self._begin()
            if self._looking is not None:
                await asyncio.wait((self._looking,), timeout=wait_s)
            found = self._valid()
        elif self._is_due(found):
            self._begin()
        if found is None:
            raise StorageUnavailable(f"credentials: {self._why or 'their provider has not answered yet'}")
        return found

    def refused(self, access_key: str) -> None:
        """Look for others, once, and have the next requests wait for the answer."""
        ours = self._found and access_key == self._found.credentials.access_key
        if ours and time.monotonic() >= self._next_refusal:
            self._next_refusal = time.monotonic() + _REFUSED_S
            self._next_look = 0.0
            self._is_refused = True

    def _valid(self) -> Credentials | None:
        found = self._found.credentials if self._found else None
        if found and found.expires is not None and time.time() > found.expires - _LEAST_S:
            return None
        return found

    def _is_due(self, found: Credentials) -> bool:
        if found.expires is None:
            return False
        ahead_s = min(_AHEAD_S, (found.expires - self._since) / 3)
        return time.time() >= found.expires - ahead_s

    def _begin(self) -> None:
        """Begin a look at the provider, where none is under way and the last one was not just now."""
        now = time.monotonic()
        if now < self._next_look or (self._looking and now < self._began + _LOOK_S):
            return
        loop = asyncio.get_running_loop()
        self._began, self._looking = now, loop.create_future()
        # A daemon: a provider that does not answer must not hold the end of the process up.
        thread = threading.Thread(
            target=self._ask, args=(loop, self._looking), name="credentials", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # The kernel refuses: nobody's credentials are wrong.
            self._ended(self._looking, None, str(error))

    def _ask(self, loop: asyncio.AbstractEventLoop, looking: asyncio.Future[None]) -> None:
        found, why = None, ""
        try:
            found = self._look()
        except Exception as error:
            # On one line, and not long: it may quote what another server said.
            why = "".join(map(_plain, " ".join(str(error).split())))[:300] or type(error).__name__
        try:
            loop.call_soon_threadsafe(self._ended, looking, found, why)
        except RuntimeError:
            return  # The loop is closed: nobody waits.

    def _ended(self, looking: asyncio.Future[None], found: Found | None, why: str) -> None:
        if looking is not self._looking:
            return  # It was given up.
        self._looking, self._is_refused = None, False
        if found is None:
            self._failed(why)
        else:
            self._came(found)
        if not looking.done():
            looking.set_result(None)

    def _came(self, found: Found) -> None:
        changed = self._found is None or found.credentials != self._found.credentials
        if changed:
            self._since = time.time()
        self._found = found
        if self._valid() is None:
            self._failed(f"those of {found.provider} are over")
            return
        was, self._why = self._why, ""
        if was or changed:
            log.log(logging.WARNING if was else logging.INFO, "S3: %s", self.about)
        self._next_look = time.monotonic() + (_RETRY_S if changed else self._pause_s())

    def _failed(self, why: str) -> None:
        if not self._why:
            log.warning("S3: no new credentials (%s); until now: %s", why, self.about)
        self._why = why
        self._next_look = time.monotonic() + self._pause_s()

    def _pause_s(self) -> float:
        """How long to the next look that is worth while: longer as long as there are valid ones."""
        found = self._valid()
        if found is None:
            return _RETRY_S
        left = _RETRY_MAX_S if found.expires is None else (found.expires - time.time()) / 4
        return min(_RETRY_MAX_S, max(_RETRY_S, left))


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _plain(character: str) -> str:
    return character if character.isprintable() else " "
