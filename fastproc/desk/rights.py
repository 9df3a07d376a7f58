"""Who may do what: everybody may look who reaches the port by a name of ours, and who has the token may act.

Rule 1: without ADMIN_TOKEN nobody may act, and nothing that needs it is shown.
Rule 2: tokens are compared in constant time. A wrong one is a line in the log, and costs its sender a moment.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from hashlib import sha256
from typing import Final

from fastproc.core.fields import fields
from fastproc.core.visitors import Attempts, Refusal, refusal
from fastproc.supervisor.requests import Request

log = logging.getLogger(__name__)

#: What a wrong token costs.
WRONG_S: Final = 0.5
#: Longest text of a stranger in a line of the log.
_MAX_CHARS: Final = 100


class Rights:
    """`token`: ADMIN_TOKEN, `names`: HTTP_NAMES."""

    def __init__(self, token: str, names: tuple[str, ...]) -> None:
        self._token, self._names = token, frozenset(names)
        self._attempts = Attempts()

    def refusal(self, request: Request, *, page: bool = False) -> Refusal | None:
        """Return why nothing is answered, whoever asks."""
        return refusal(request.method, request.headers, self._names, page=page)

    async def of_operator(self, request: Request) -> Refusal | None:
        """Return why the request is not an operator's; None where it has the token."""
        if not self._token:
            return Refusal(403, "this page is read-only: ADMIN_TOKEN is not set")
        if not self._attempts.may_try(request.peer, time.monotonic()):
            return Refusal(429, "too many wrong tokens from this address: wait a minute")
        given = request.headers.get("authorization", "")
        if not given:
            return Refusal(
                401, "this needs the token (ADMIN_TOKEN), and no header `Authorization` has come with it"
            )
        if hmac.compare_digest(_digest(given), _digest(f"Bearer {self._token}")):
            return None
        self._attempts.wrong(request.peer, time.monotonic())
        log.warning("page: a wrong token", extra=fields(by=who(request)))
        await asyncio.sleep(WRONG_S)
        return Refusal(401, "this is not the token (ADMIN_TOKEN)")


def who(request: Request) -> str:
    """Return who asks, for the log: the address, and for whom a proxy says that it asks, if it does."""
    through = request.headers.get("x-forwarded-for", "")
    return f"{request.peer} (it says: for {through[:_MAX_CHARS]!r})" if through else request.peer


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()
