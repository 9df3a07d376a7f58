"""A TCP proxy before S3 or Redis that makes faults: it delays, cuts, drips, resets, refuses and answers for the server.

Rule 1: a `rule` sees every request or command before the server does and names the fault; None lets it pass.
Rule 2: a new rule ends what an old one holds up: those connections are closed, as by a server that comes back.
Rule 3: everything happens in one thread of its own; `rule`, `refuse`, `allow` and `break_all` may be called from any.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

from fastproc.embedded.child import HOST, free_ports
from fastproc.embedded.trial.faults import Delay, Fault, Hang, Lose, Reset, Say, Spoil
from fastproc.embedded.trial.wire import Message, Wire

#: The words of a request or command -> the fault that it meets.
Rule = Callable[[bytes], Fault | None]

_PART_BYTES = 256 << 10
_TURNS_S = 0.02
_PATIENCE_S = 5.0  # Longest wait of a caller for the proxy's thread.


def always(fault: Fault, *beginnings: bytes) -> Rule:
    """Return the rule by which each message that begins so, or each one at all, meets the fault."""
    return lambda words: fault if not beginnings or words.startswith(beginnings) else None


class Proxy:
    """Listens on `port` of the loopback address and forwards to a server there."""

    def __init__(self, server_port: int, wire: Callable[[], Wire]) -> None:
        self.port = free_ports(1)[0]
        self.server_port = server_port
        self._wire = wire
        self._rule: Rule | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self._lifted = asyncio.Event()
        self._in_order = False

    def __enter__(self) -> Self:
        self._thread.start()
        self.allow()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._in_thread(self._let_go())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def rule(self) -> Rule | None:
        """The rule that every message meets; None: no fault."""
        return self._rule

    @rule.setter
    def rule(self, rule: Rule | None) -> None:
        self._in_thread(self._set(rule))

    def refuse(self) -> None:
        """End all connections, in order as a server that stops, and let new ones be refused."""
        self._in_thread(self._refuse())

    def allow(self) -> None:
        """Accept connections."""
        self._in_thread(self._allow())

    def break_all(self) -> None:
        """Reset all connections; new ones are accepted."""
        self._in_thread(self._break_all())

    def _in_thread(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    # In the thread:
    async def _set(self, rule: Rule | None) -> None:
        self._rule = rule
        lifted, self._lifted = self._lifted, asyncio.Event()
        lifted.set()

    async def _allow(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, HOST, self.port, backlog=512)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._break_all(in_order=True)

    async def _let_go(self) -> None:
        # One that was just accepted is ours some turns of the loop later; those aborted close theirs as late.
        for _ in range(3):
            await asyncio.sleep(_TURNS_S)
            await self._break_all()
            for writer in list(self._writers):
                abort(writer)

    async def _break_all(self, *, in_order: bool = False) -> None:
        self._in_order = in_order
        there = list(self._open)  # Not those that come meanwhile: they might never end.
        for task in there:
            task.cancel()
        await asyncio.gather(*there, return_exceptions=True)
        self._in_order = False

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open.add(task)
        self._writers.add(writer)
        task.add_done_callback(lambda _: self._ended(task, writer))

    def _ended(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        # Here and not in the task: one that is cancelled before its first step runs nothing of its own.
        self._open.discard(task)
        writer.close() if self._in_order else abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = None
        try:
            with suppress(OSError):
                link = _Link(writer, self._wire())
                await link.connect(self.server_port)
                await self._forward(reader, link)
        finally:
            if link is not None:
                link.close()

    async def _forward(self, reader: asyncio.StreamReader, link: _Link) -> None:
        """Return when the client is gone or a fault ends the connection."""
        while part := await reader.read(_PART_BYTES):
            for message in link.wire.feed(part):
                fault = self._rule(message.words) if self._rule else None
                if not await self._meet(fault, message, link):
                    return

    async def _meet(self, fault: Fault | None, message: Message, link: _Link) -> bool:
        """Do what the fault says with the message; return whether the connection goes on."""
        match fault:
            case Hang(hook):
                hook()
                await self._lifted.wait()
                return False
            case Reset(hook):
                hook()
                return False
            case Say(answer, close):
                link.client.write(answer)
                await link.client.drain()
                if close:
                    await link.finish()
                return not close
            case Lose(hook, hold):
                await link.done(message)
                hook()
                if hold:
                    await self._lifted.wait()
                return False
            case Delay(seconds):
                await asyncio.sleep(seconds)
        link.spoil, link.lifted = fault.fresh() if isinstance(fault, Spoil) else None, self._lifted
        await link.send(fault.request(message.data) if isinstance(fault, Spoil) else message.data)
        return True


class _Link:
    """The two ends of a connection, and what is done to the server's answers on their way back."""

    def __init__(self, client: asyncio.StreamWriter, wire: Wire) -> None:
        self.client, self.wire = client, wire
        self.spoil: Spoil | None = None
        self.lifted = asyncio.Event()
        self._connecting: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] | None = None
        self._server: asyncio.StreamWriter
        self._back: asyncio.Task[None] | None = None
        self._withheld: bytearray | None = None
        self._done = asyncio.Event()

    async def connect(self, port: int) -> None:
        """Raises OSError."""
        # Shielded: a connection that is made at the moment of a cancellation would be nobody's.
        self._connecting = asyncio.ensure_future(asyncio.open_connection(HOST, port))
        reader, self._server = await asyncio.shield(self._connecting)
        self._back = asyncio.ensure_future(self._answers(reader))

    async def send(self, data: bytes) -> None:
        """Forward a message."""
        self._server.write(data)
        await self._server.drain()

    async def done(self, message: Message) -> None:
        """Forward a message and return when the server has done it; nothing more reaches the client."""
        self._withheld = bytearray()
        await self.send(message.data + self.wire.probe)
        await self._done.wait()

    async def finish(self) -> None:
        """Close the client's end in order, so that it gets what was written."""
        self.client.close()
        with suppress(OSError):
            await self.client.wait_closed()

    def close(self) -> None:
        """Break the connection to the server. Waits for nothing, so that a cancellation cannot come between."""
        if self._back is not None:
            self._back.cancel()
        if self._connecting is not None:
            self._connecting.add_done_callback(_abort_made)

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while part := await reader.read(_PART_BYTES):
                if self._withheld is not None:
                    self._withheld += part
                    if self.wire.done in self._withheld:
                        self._done.set()
                elif self.spoil is None:
                    self.client.write(part)
                    await self.client.drain()
                elif not await self.spoil.answer(part, self.client, self.lifted):
                    break
            # What waits for a message to be done would wait without end.
            self._done.set()
            await self.finish()


def abort(writer: asyncio.StreamWriter) -> None:
    """Break a connection so that the other end sees a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _abort_made(connecting: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        abort(connecting.result()[1])
