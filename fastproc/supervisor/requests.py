"""A request and its answer as plain values, so that what answers requests knows no HTTP library."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import msgspec
from msgspec import Struct


class Request(Struct, frozen=True, kw_only=True):
    """`headers` by their names in lower case; `peer`: the address that it came from.

    `stay` lets its connection live on, where the answer takes longer than connections usually may.
    """

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    peer: str = ""
    stay: Callable[[], None] = lambda: None


class Reply(Struct, frozen=True, kw_only=True):
    """An answer, whole."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = {}


class Feed(Struct, frozen=True, kw_only=True):
    """An answer that goes on: `parts` are sent as they come. Who does not read them for a while is dropped."""

    parts: AsyncGenerator[bytes, None]
    kind: str
    headers: Mapping[str, str] = {}


#: Answers the requests of one path.
Route = Callable[[Request], Awaitable[Reply | Feed]]


def json_reply(value: object, status: int = 200) -> Reply:
    """Return a value as JSON."""
    return Reply(status=status, body=msgspec.json.encode(value), kind="application/json")
