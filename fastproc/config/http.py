"""Settings of the HTTP server: where health, metrics and the operator's page are served, and who may give orders."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var

#: 128 bits as hexadecimal digits: no number of guesses finds it.
MIN_TOKEN_CHARS: Final = 32


def admin_token(text: str) -> str:
    """Return the token. Raises ValueError for one that could be guessed, or that no header can carry."""
    if len(text) < MIN_TOKEN_CHARS:
        raise ValueError(
            f"expected {MIN_TOKEN_CHARS} characters or more, as `openssl rand -hex 32` makes them"
        )
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("expected printable ASCII without spaces, as `openssl rand -hex 32` makes it")
    if len(set(text)) < MIN_TOKEN_CHARS // 4:
        raise ValueError("it has too few different characters; `openssl rand -hex 32` makes a good one")
    return text


def host_names(text: str) -> tuple[str, ...]:
    """Return host names in lower case. Raises ValueError for what is none: a URL, a port, a pattern."""
    return tuple(values.host_name(name).lower().rstrip(".") for name in values.names(text))


class HttpConfig(Struct, frozen=True, kw_only=True):
    """Where health, metrics and the operator's page are served. `admin_token`: "" where nobody may give orders."""

    host: Annotated[str, var("HTTP_HOST", "address to listen on")] = "0.0.0.0"
    port: Annotated[
        int,
        var(
            "HTTP_PORT",
            "port of the page at `/`, `/health`, `/ready` and `/metrics`; 0 = none",
            ge=0,
            le=65535,
        ),
    ] = 8080
    stale_s: Annotated[
        float,
        var(
            "HEALTH_STALE_S",
            "seconds in which jobs wait, nothing holds them and no attempt ends, until `/health` says `stale`",
            gt=0,
        ),
    ] = 300.0
    admin_token: Annotated[
        str,
        var(
            "ADMIN_TOKEN",
            "who has it may give orders on the page and see pictures there; empty = the page is read-only",
            extra={"secret": True, "parse": admin_token},
        ),
    ] = ""
    names: Annotated[
        tuple[str, ...],
        var(
            "HTTP_NAMES",
            "public host names of the page, separated by commas; addresses and private names are known",
            extra={"parse": host_names},
        ),
    ] = ()
