"""What a proxy can do to one request or command and to its answer; the answers that are not S3's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct


def _nothing() -> None:
    return


class Hang(Struct, frozen=True):
    """It does not reach the server, and nothing answers. `hook` is called at that moment, here and below."""

    hook: Callable[[], None] = _nothing


class Reset(Struct, frozen=True):
    """It does not reach the server, and the connection breaks."""

    hook: Callable[[], None] = _nothing


class Lose(Struct, frozen=True):
    """The server does it, and its answer is lost; the connection breaks, or with `hold` it stays silent."""

    hook: Callable[[], None] = _nothing
    hold: bool = False


class Say(Struct, frozen=True):
    """It does not reach the server; the proxy answers in its place."""

    answer: bytes
    close: bool = False


class Delay(Struct, frozen=True):
    """It reaches the server so many seconds later."""

    seconds: float


class Spoil:
    """The server does it, and its answer is changed on the way."""

    def fresh(self) -> Spoil:
        """Return what counts the bytes of one more answer."""
        return type(self)()

    def request(self, data: bytes) -> bytes:
        """Return what the server is sent in place of the request."""
        return data

    async def answer(self, part: bytes, client: asyncio.StreamWriter, lifted: asyncio.Event) -> bool:
        """Pass a part of the answer on; return whether the connection goes on. `lifted`: the fault is over."""
        client.write(part)
        await client.drain()
        return True


class Cut(Spoil):
    """The answer ends after so many bytes, in order, as if it were whole; `hook` is called at that moment."""

    def __init__(self, after_bytes: int, hook: Callable[[], None] = _nothing) -> None:
        self._after_bytes = self._left = after_bytes
        self._hook = hook

    def fresh(self) -> Cut:
        """Return what counts the bytes of one more answer."""
        return Cut(self._after_bytes, self._hook)

    async def answer(self, part: bytes, client: asyncio.StreamWriter, lifted: asyncio.Event) -> bool:
        """Pass on what is left of the bytes."""
        client.write(part[: self._left])
        await client.drain()
        self._left -= len(part)
        if self._left <= 0:
            self._hook()
        return self._left > 0


class Drip(Spoil):
    """The answer comes at so many bytes a second, until the fault is over."""

    def __init__(self, bytes_a_second: float) -> None:
        self._rate = bytes_a_second

    def fresh(self) -> Drip:
        """Return the same for one more answer."""
        return Drip(self._rate)

    async def answer(self, part: bytes, client: asyncio.StreamWriter, lifted: asyncio.Event) -> bool:
        """Pass the head on, then the body byte by byte."""
        head = part.find(b"\r\n\r\n") + 4
        client.write(part[:head] if head >= 4 else b"")
        for at in range(max(0, head if head >= 4 else 0), len(part)):
            try:
                async with asyncio.timeout(1 / self._rate):
                    await lifted.wait()
                return False
            except TimeoutError:
                client.write(part[at : at + 1])
                await client.drain()
        return True


class Flip(Spoil):
    """One bit of the answer's body is wrong: in byte number `at`."""

    def __init__(self, at: int) -> None:
        self._at, self._seen = at, bytearray()

    def fresh(self) -> Flip:
        """Return what counts the bytes of one more answer."""
        return Flip(self._at)

    async def answer(self, part: bytes, client: asyncio.StreamWriter, lifted: asyncio.Event) -> bool:
        """Pass the part on, with the bit changed where the byte is in it."""
        before = len(self._seen)
        self._seen += part
        end = self._seen.find(b"\r\n\r\n")
        place = end + 4 + self._at - before
        if end >= 0 and 0 <= place < len(part):
            part = part[:place] + bytes([part[place] ^ 4]) + part[place + 1 :]
        client.write(part)
        await client.drain()
        return True


class FlipSent(Spoil):
    """One bit of the request's body is wrong when the server gets it: in byte number `at`."""

    def __init__(self, at: int) -> None:
        self._at = at

    def fresh(self) -> FlipSent:
        """Return the same for one more request."""
        return FlipSent(self._at)

    def request(self, data: bytes) -> bytes:
        """Return the request with that bit changed."""
        place = data.find(b"\r\n\r\n") + 4 + self._at
        return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


Fault = Hang | Reset | Lose | Say | Delay | Spoil


def page(status: int, body: bytes, content_type: bytes = b"text/html") -> Say:
    """An HTTP answer with this body, after which the connection goes on."""
    head = b"HTTP/1.1 %d Whatever\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return Say(head % (status, content_type, len(body)) + body)


def refusal(status: int, code: bytes) -> Say:
    """An error of S3's own."""
    xml = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>as asked</Message></Error>'
    return page(status, xml % code, b"application/xml")


#: A load balancer's pages.
MAINTENANCE = b"<html><body><h1>We will be back soon</h1></body></html>"
NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>"
