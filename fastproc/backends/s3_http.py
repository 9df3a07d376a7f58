"""One HTTP request to an S3 server: sent once, timed, and with its signature in no message.

Rule 1: one request a call. aiohttp would send GET and PUT again over a connection that broke; `_once` keeps it from
        that, so that a server which dies of a request is not asked for it twice.
Rule 2: an upload announces its length and is never read from, only pointed at: sent again it would be whole.
Rule 3: no redirect is followed and no encoding is undone.
Rule 4: every wait has an end: for a connection, for a byte, for the head, for the whole, and a body that has begun must
        come at a least rate. Only the wait for admission is not the server's.
Rule 5: no message holds a signature: an error's words end at its URL's `?`, and its cause is not shown with it.
Rule 6: bytes move in the loop's own thread: what is cancelled has ended when `await` returns, and nothing writes into
        memory that by then holds another photo.
"""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import yarl
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

from fastproc.core.errors import ConfigError, SourceTooLarge, StorageUnavailable

#: Bytes that are written before the socket is asked whether it wants more.
_WRITE_BYTES = 256 << 10

#: What the kernel says where this host has no descriptor or memory for a connection.
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds, and the least rate of a photo's body: each `pace_bytes` must come within `pace_s`."""

    connect_s: float = 5.0
    #: Without any byte. With `connect_s`, it is also the time for the head of a GET's answer.
    idle_s: float = 15.0
    #: For a whole request (waiting for admission not counted).
    total_s: float = 120.0
    pace_s: float = 5.0
    pace_bytes: int = 50_000
    #: How long an unused connection is kept. Less than the 5 s after which impatient servers close theirs, because a
    #: request that crosses such a close is lost.
    keep_s: float = 4.0


class Timer:
    """The one deadline of a request, moved from phase to phase; `words` name the phase that took too long."""

    def __init__(self, times: Timeouts) -> None:
        self._times = times
        self.words = ""
        self.deadline = asyncio.timeout(None)

    def upload(self) -> None:
        """From now on: a request whose body is large, and its answer."""
        self._within(self._times.total_s, "")

    def head(self) -> None:
        """From now on: a request without a body, until its answer's head (and a refusal's body)."""
        most = min(self._times.connect_s + self._times.idle_s, self._times.total_s)
        self._within(most, "no answer, ")

    def stop(self) -> None:
        """The server is not waited for."""
        self.deadline.reschedule(None)

    def body(self) -> None:
        """From now on: the body of an answer."""
        self._end = asyncio.get_running_loop().time() + self._times.total_s
        self._next = 0
        self.came(0)

    def came(self, size: int) -> None:
        """`size` bytes of the body are there."""
        if size < self._next:
            return
        self._next = size + self._times.pace_bytes
        left = self._end - asyncio.get_running_loop().time()
        if left < self._times.pace_s:
            self._within(left, "")
            self.words = f"it took more than {self._times.total_s:g} s"
        else:
            self._within(self._times.pace_s, f"fewer than {self._times.pace_bytes} bytes more, ")

    def _within(self, seconds: float, what: str) -> None:
        self.words = f"{what}it took more than {seconds:g} s"
        self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)


class Requests:
    """Requests of one event loop; they share connections."""

    def __init__(self, timeouts: Timeouts, authorities: tuple[str, str] | None = None) -> None:
        """`authorities`: a file of certificates to trust, and its variable. Raises ConfigError."""
        self._timeouts = timeouts
        self._tls = _trusting(*authorities) if authorities else True
        self._opened: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def send(
        self, method: str, url: str, named: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, Timer]]:
        """Send one request to an encoded URL; what goes wrong until the block's end is StorageUnavailable.

        `named` is what messages call the object.
        """
        sent = {**headers, "Accept-Encoding": "identity"}
        if body is not None:
            sent["Content-Length"] = str(len(body))
        timer = Timer(self._timeouts)
        try:
            async with timer.deadline:
                timer.head() if body is None else timer.upload()
                async with self._session.request(
                    method,
                    yarl.URL(url, encoded=True),
                    headers=sent,
                    data=None if body is None else _Body(body),
                    allow_redirects=False,
                ) as response:
                    yield response, timer
        except (aiohttp.ClientError, OSError, _Broken) as error:  # TimeoutError is an OSError.
            # Some of aiohttp's messages quote the URL, and with it the signature; some, on further lines, the body.
            said = re.split(r"\?|\n|\\n", str(error), maxsplit=1)[0][:300]
            unavailable = StorageUnavailable(f"{method} {named}: {said or timer.words}")
            unavailable.of_host = getattr(error.__cause__ or error, "errno", None) in NO_ROOM
            raise unavailable from None

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            times = self._timeouts
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=times.keep_s, ssl=self._tls),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type",),
                timeout=aiohttp.ClientTimeout(sock_connect=times.connect_s, sock_read=times.idle_s),
                middlewares=(_once,),
            )
        return self._opened


def _trusting(file: str, variable: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities of a file, and no others. Raises ConfigError."""
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError([f"{variable}: cannot read certificates from {file!r} ({said})"]) from None


async def read_into(response: aiohttp.ClientResponse, target: memoryview, named: str, timer: Timer) -> int:
    """Read a body into `target`; return its size. Raises SourceTooLarge, with no byte past the limit written."""
    timer.body()
    size = 0
    async for chunk, _ in response.content.iter_chunks():
        end = size + len(chunk)
        if end > len(target):
            raise SourceTooLarge(f"{named} has more than {len(target)} bytes")
        target[size:end] = chunk
        size = end
        timer.came(size)
    return size


class _Body(aiohttp.Payload):
    """The bytes of an upload, written as they lie there. aiohttp's own payload copies them piece by piece."""

    _value: bytes

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for start in range(0, len(view), _WRITE_BYTES):
            await writer.write(view[start : start + _WRITE_BYTES])


class _Broken(Exception):
    """A connection broke under a request."""


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp sends a request again where one of these reaches it: give it another error."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken(str(error) or type(error).__name__) from error
