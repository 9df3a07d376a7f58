"""The control channel: how the shell and the page order something of services that run, and how those listen.

Rule 1: the channel is `<prefix>:<queue>:fastproc:control`. Answers go to a list of the order's own, which expires.
Rule 2: a receiver has a connection of its own, which is made again without end. It never raises into the service: what
        is no order is logged once and ignored, and an error of a handler becomes the answer.
Rule 3: what Redis refuses (an ACL) is one warning; the service serves on without live control.
Rule 4: orders are obeyed one after the other, as they come: the last `set` is the one that counts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fastproc.bullmq.address import CONNECT_TIMEOUT_S, Connect
from fastproc.bullmq.call import Call
from fastproc.bullmq.connection import CONNECTION_ERRORS, Connection, ReplyError, lacks_right
from fastproc.bullmq.protocol import Keys
from fastproc.core import control
from fastproc.core.acts import Act, Outcome
from fastproc.core.control import Answer, Order, Place, Refusal
from fastproc.core.errors import QueueUnavailable
from fastproc.core.fields import fields
from fastproc.core.pause import pause_s
from fastproc.core.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Does what was ordered, and says what that was; None: it is not this service's business, nobody shall hear of it.
Handler = Callable[[Order], Awaitable[str | None]]

#: Longest wait of a sender for answers, and its pause between two looks. A service answers in milliseconds.
ANSWER_S, LOOK_S = 5.0, 0.05
ANSWERS_MS: Final = 30_000
#: Longest time that one order may take in a service.
OBEY_S: Final = 4.0
#: A connection that was silent for so long is asked whether it lives, and has so long to answer.
SILENT_S: Final = 15.0
#: Pauses between connections, and before Redis is asked again for a right that it has refused.
FIRST_PAUSE_S, LONGEST_PAUSE_S, REFUSED_S = 0.2, 3.0, 60.0


def channel(keys: Keys) -> str:
    """Return the channel of a queue."""
    return keys("fastproc:control")


def message(act: Act, *, id: str = "", by: str = "") -> bytes:
    """Return what is published for an act."""
    return msgspec.json.encode(Order(act=act, id=id, by=by, at_ms=time.time_ns() // 1_000_000))


async def order(
    call: Call, keys: Keys, act: Act, snapshots: Sequence[Snapshot], *, by: str, wait_s: float = ANSWER_S
) -> Outcome:
    """Order an act of the services of these snapshots, and return what they answered within `wait_s`.

    Raises QueueUnavailable.
    """
    try:
        wanted = control.expected(act, snapshots)
    except Refusal as refusal:
        return Outcome(ok=False, text=str(refusal))
    own = str(uuid.uuid4())
    listening = await call("PUBLISH", channel(keys), message(act, id=own, by=by))
    until, found = time.monotonic() + wait_s, list[Answer]()
    while listening and not wanted <= {(each.host, each.number) for each in found}:
        if time.monotonic() >= until:
            break
        await asyncio.sleep(LOOK_S)
        found = control.answers(await call("LRANGE", _answers(keys, own), 0, -1))
    return control.together(wanted, found, wait_s)


class Receiver:
    """Listens for one supervisor, `place`, and obeys by `handlers`: one for each kind of act that it knows."""

    def __init__(
        self, connect: Connect, call: Call, keys: Keys, place: Place, handlers: Mapping[type, Handler]
    ) -> None:
        self._connect, self._call, self._keys = connect, call, keys
        self._host, self._number = place
        self._handlers = handlers
        self._said: set[str] = set()
        #: Set while it listens.
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._listen()
            except (ReplyError, *CONNECTION_ERRORS) as error:
                if lacks_right(error):
                    self._once("refused", "live control is off, Redis refuses the channel: %s", error)
                    await asyncio.sleep(REFUSED_S)
                    continue
                # An outage has its line in the log already: the connection that carries jobs has it too.
                log.debug("live control: no connection: %s", error)
            except Exception:
                log.exception("live control: unexpected, it listens again")
            failures = 1 if time.monotonic() - began > SILENT_S else failures + 1
            await asyncio.sleep(pause_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S, random.random()))

    async def _listen(self) -> None:
        """Subscribe, and obey. Raises what breaks the connection."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = await self._connect()
                await connection.open()
                await connection.send([("SUBSCRIBE", channel(self._keys))])
                await connection.read()
            self.listening.set()
            while True:
                await self._heard(await self._next(connection))
        finally:
            self.listening.clear()
            if connection is not None:
                await connection.drop()

    async def _next(self, connection: Connection) -> Any:
        """Return what comes next; a connection that is silent is asked whether it lives. Raises TimeoutError."""
        try:
            async with asyncio.timeout(SILENT_S):
                return await connection.read()
        except TimeoutError:
            await connection.send([("PING",)])
        async with asyncio.timeout(SILENT_S):
            return await connection.read()

    async def _heard(self, pushed: Any) -> None:
        """Obey what was published, if it is an order."""
        if not isinstance(pushed, list) or len(pushed) != 3 or pushed[0] != b"message":
            return
        try:
            order = control.read(pushed[2])
        except ValueError as error:
            self._once("malformed", "live control: what is no order was ignored, and will be: %s", error)
            return
        if control.host_of(order.act) in ("", self._host):
            await self._obey(order)

    async def _obey(self, order: Order) -> None:
        handler = self._handlers.get(type(order.act))
        about, by = control.words(order.act), order.by or "somebody who gave no name"
        try:
            if handler is None:
                raise Refusal("this service does not know how")
            async with asyncio.timeout(OBEY_S):
                text = await handler(order)
            ok = True
        except Refusal as refusal:
            ok, text = False, str(refusal)
        except TimeoutError:
            ok, text = False, f"not done in {OBEY_S:g} s"
        except Exception as error:
            log.exception("live control: unexpected")
            ok, text = False, f"unexpected error: {type(error).__name__}"
        if text is None:
            return
        level, asked = logging.INFO if ok else logging.WARNING, fields(by=by, order=about)
        log.log(level, "order of %s: %s: %s", by, about, text, extra=asked)
        if order.id:
            await self._answer(order.id, Answer(host=self._host, number=self._number, ok=ok, text=text))

    async def _answer(self, order_id: str, answer: Answer) -> None:
        key = _answers(self._keys, order_id)
        try:
            async with asyncio.timeout(OBEY_S):
                await asyncio.gather(
                    self._call("RPUSH", key, msgspec.json.encode(answer)),
                    self._call("PEXPIRE", key, ANSWERS_MS),
                )
        except (QueueUnavailable, TimeoutError) as error:
            if lacks_right(error):
                self._once("answers", "live control: an answer could not be given: %s", error)
            log.debug("live control: no answer given: %s", error)

    def _once(self, what: str, words: str, error: Exception) -> None:
        level = logging.DEBUG if what in self._said else logging.WARNING
        self._said.add(what)
        log.log(level, words, error)


def _answers(keys: Keys, order_id: str) -> str:
    return keys(f"fastproc:control:{order_id}")
