"""Settings of the webhooks: where events are posted to, signed with what, and how long that is tried."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Struct

from fastproc.config import values
from fastproc.config.misspelt import likely
from fastproc.config.values import var
from fastproc.core import addresses

#: Events that a webhook may be sent for, by the last word of their type.
EVENTS = ("started", "progress", "completed", "failed")
#: Receivers at most: each has a backlog of its own in Redis, and requests of its own under way.
MAX_URLS = 8
#: Secrets at most: the new one and the old one, while receivers change over.
MAX_SECRETS = 2
#: Bytes of a secret. Source: Standard Webhooks 1.0.0, "Signature scheme".
LEAST_SECRET_BYTES, MOST_SECRET_BYTES = 24, 64

_SECRET = "whsec_"
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
#: What ends in a number is an address, or a misspelled one: `127.1`, `0x7f000001` (WHATWG URL).
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\.?")


def urls(text: str) -> tuple[str, ...]:
    """Return the URLs between commas. Raises ValueError for what is no http URL that a request can go to."""
    found = values.names(text)
    for each in found:
        values.url("http", "https")(each)
        if not re.fullmatch(r"[!-~]+", each) or "#" in each or "\\" in each:
            raise ValueError(
                "expected URLs of printable ASCII without a fragment (a name in other letters as xn--)"
            )
        host = urlsplit(each).hostname or ""
        if not addresses.literal(host) and (not _NAME.fullmatch(host) or _NUMBER.fullmatch(host)):
            raise ValueError("a URL names no possible host")
    if len(set(found)) != len(found) or len(found) > MAX_URLS:
        raise ValueError(f"expected {MAX_URLS} different URLs at most")
    return found


def secrets(text: str) -> tuple[str, ...]:
    """Return one secret, or two. Raises ValueError for what is not `whsec_` and base64 of 24 to 64 bytes."""
    found = values.names(text)
    for each in found:
        if not each.startswith(_SECRET):
            raise ValueError(
                "expected whsec_ and base64; `openssl rand -base64 32` makes the part behind whsec_"
            )
        try:
            size = len(key(each))
        except binascii.Error:
            raise ValueError("what follows whsec_ is not base64") from None
        if not LEAST_SECRET_BYTES <= size <= MOST_SECRET_BYTES:
            raise ValueError(
                f"expected base64 of {LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} bytes, not of {size}"
            )
    if len(found) > MAX_SECRETS:
        raise ValueError("expected one secret, or two while receivers change over")
    return found


def key(secret: str) -> bytes:
    """Return a secret's bytes. Raises binascii.Error."""
    plain = secret.removeprefix(_SECRET)
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def events(text: str) -> tuple[str, ...]:
    """Return the events that the text names. Raises ValueError for an unknown one, or none at all."""
    found = tuple(dict.fromkeys(values.names(text.lower())))
    if not found or any(name not in EVENTS for name in found):
        meant = next((words for name in found if name not in EVENTS and (words := likely(name, EVENTS))), "")
        raise ValueError(f"expected some of {', '.join(EVENTS)}{meant}")
    return found


class WebhookConfig(Struct, frozen=True, kw_only=True):
    """Where events are posted to. Without a URL there are no webhooks."""

    urls: Annotated[
        tuple[str, ...],
        var(
            "WEBHOOK_URL",
            "`http://` or `https://` URL that events are posted to, signed; several are separated by commas",
            # A path is all that some receivers ask for.
            extra={"parse": urls, "secret": "path"},
        ),
    ] = ()
    secrets: Annotated[
        tuple[str, ...],
        var(
            "WEBHOOK_SECRET",
            "`whsec_` and base64 of 24 to 64 random bytes; a new and an old one, separated by a comma, sign both",
            extra={"parse": secrets, "secret": True},
        ),
    ] = ()
    events: Annotated[
        tuple[str, ...],
        var(
            "WEBHOOK_EVENTS",
            "events that are posted: some of `started`, `progress`, `completed`, `failed`",
            extra={"parse": events},
        ),
    ] = ("completed", "failed")
    timeout_s: Annotated[
        float, var("WEBHOOK_TIMEOUT_S", "seconds that a receiver has for its answer", ge=0.5, le=60)
    ] = 15.0
    retry_s: Annotated[
        float,
        var(
            "WEBHOOK_RETRY_S",
            "seconds for which a webhook is tried again, with pauses of 5 s to an hour; then it is given up",
            ge=60,
            le=30 * 86_400,
        ),
    ] = 86_400.0
    backlog_bytes: Annotated[
        int,
        var(
            "WEBHOOK_BACKLOG_BYTES",
            "bytes that the webhooks waiting for one receiver may take in Redis; the oldest are dropped first",
            ge=1 << 20,
        ),
    ] = 64 << 20
    allow_private: Annotated[
        bool,
        var(
            "WEBHOOK_ALLOW_PRIVATE",
            "`true` lets webhooks go to private and loopback addresses; never to link-local ones",
        ),
    ] = False

    def conflicts(self) -> list[str]:
        """Return the problems between these settings, each beginning with its variable."""
        found = []
        if self.urls and not self.secrets:
            found.append(
                "WEBHOOK_SECRET: WEBHOOK_URL needs one: whsec_ and what `openssl rand -base64 32` prints"
            )
        for each in self.urls:
            address = addresses.literal(urlsplit(each).hostname or "")
            if address and (why := addresses.refusal(address, allow_private=self.allow_private)):
                found.append(f"WEBHOOK_URL: {why} (WEBHOOK_ALLOW_PRIVATE)")
        return found


def endpoint_id(url: str) -> str:
    """Return the short name of a receiver in Redis' keys, log lines and metrics; it does not tell the URL."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def shown(url: str) -> str:
    """Return a receiver for log lines: its server and its short name. The rest of a URL may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} ({endpoint_id(url)})"
