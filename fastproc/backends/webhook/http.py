"""Posts webhooks to receivers that nobody here vouches for: not into our own network, and bounded in every way.

Rule 1: sockets come from the gate (`gate`), which judges their addresses. TLS is verified against the name.
Rule 2: no redirect is followed, no proxy of the environment used, no cookie kept, nothing unpacked.
Rule 3: a request ends within its time-out and 2 * BODY_S, whatever the receiver does. Of its answer the status counts;
        of the body a little is read, for the log. A connection whose answer is longer is closed.
Rule 4: no exception passes, and no message has the URL in it: path, query and login may be secrets.
"""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import aiohttp
import yarl
from msgspec import Struct

from fastproc import __version__
from fastproc.backends.webhook import signing
from fastproc.backends.webhook.gate import Gate, Resolver

#: Bytes of an answer's body that are read: a sentence for the log.
BODY_BYTES = 2048
#: Seconds for that, and for a connection. An unused one is kept for less than the 5 s of impatient servers.
BODY_S, CONNECT_S, KEEP_S = 1.0, 5.0, 4.0


class Answer(Struct, frozen=True):
    """What came of a request: the status (0: there was none), what was said, and `Retry-After` in seconds."""

    status: int
    words: str
    retry_after_s: float
    seconds: float


class Poster:
    """Posts signed bodies; requests share connections. `keys` are the secrets' bytes."""

    def __init__(self, gate: Gate, keys: Sequence[bytes], timeout_s: float) -> None:
        self._gate, self._keys, self._timeout_s = gate, tuple(keys), timeout_s
        self._resolver = Resolver(gate)
        self._opened: aiohttp.ClientSession | None = None

    async def post(self, url: str, id: str, body: bytes) -> Answer:
        """Send one signed request."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                status, words, retry_after_s = await self._request(url, id, body, deadline)
        except TimeoutError:
            status, words, retry_after_s = 0, f"no answer within {self._timeout_s:g} s", 0.0
        except (aiohttp.ClientError, OSError, ValueError) as error:
            status, words, retry_after_s = 0, _plain(str(error) or type(error).__name__, url), 0.0
        return Answer(status, words, retry_after_s, time.monotonic() - started)

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None
        await self._resolver.close()

    async def _request(
        self, url: str, id: str, body: bytes, deadline: asyncio.Timeout
    ) -> tuple[int, str, float]:
        headers = signing.headers(self._keys, id, int(time.time()), body)
        headers |= {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"fastproc/{__version__}",
        }
        async with self._session.post(
            yarl.URL(url), data=body, headers=headers, allow_redirects=False
        ) as response:
            # The answer is there, and a body that hangs does not unsay it.
            deadline.reschedule(asyncio.get_running_loop().time() + 2 * BODY_S)
            said = await _beginning(response)
            words = " ".join(filter(None, (f"HTTP {response.status}", _plain(said, url))))
            if 300 <= response.status <= 399:
                words += "; redirects are not followed"
            return response.status, words, _retry_after_s(response.headers.get("Retry-After", ""))

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._resolver,
                    socket_factory=self._gate.socket,
                    use_dns_cache=False,
                    keepalive_timeout=KEEP_S,
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S),
            )
        return self._opened


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Read the beginning of the body; a connection that has more, or does not say so in time, is closed."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while len(found) <= BODY_BYTES and (part := await response.content.read(BODY_BYTES)):
                found += part
    except (TimeoutError, aiohttp.ClientError):
        response.close()
    if len(found) > BODY_BYTES:
        response.close()
    return "" if 200 <= response.status <= 299 else bytes(found[:BODY_BYTES]).decode(errors="replace")


def _retry_after_s(text: str) -> float:
    """Return the seconds of a `Retry-After`, a number or a date; 0 for anything else."""
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError):
        return 0.0


def _plain(text: str, url: str) -> str:
    """Return the first 200 characters in one line, without what of the URL may be a secret."""
    parts = urlsplit(url)
    secret = {url, parts.path, parts.query, parts.username or "", parts.password or ""}
    for part in sorted(secret | set(map(unquote, secret)), key=len, reverse=True):
        if len(part) > 3:
            text = text.replace(part, "...")
    return " ".join(text.split())[:200]
