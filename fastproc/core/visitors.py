"""Whether a request to the operator's page is what it seems: by a name of ours, from our own page, with the token.

Rule 1: a name that a stranger can point here (DNS rebinding) is refused: an address, `localhost`, a name without a dot
        or in a zone that nobody can register is ours, any other one only where it was given as such.
Rule 2: a browser says who asks (Fetch Metadata, Origin). Another site may link to the page, and nothing else. A program
        that is no browser says nothing, and cannot be forged by one.
Rule 3: who has given too many wrong tokens is not heard for a while, the right one included: else it could be guessed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct

#: Zones that no registry gives to anybody. Source: RFC 6761, 6762, 8375; ICANN's `.internal` (2024); Kubernetes.
PRIVATE_ZONES: Final = ("localhost", "local", "internal", "home.arpa", "test", "cluster.local")

#: So many wrong tokens of one address, and it is not heard until some of them are older than ATTEMPTS_S.
ATTEMPTS: Final = 5
ATTEMPTS_S: Final = 60.0
#: Addresses that are remembered, the oldest goes first. Whoever has more of them guesses 128 bits all the same.
MAX_ADDRESSES: Final = 1000

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


class Refusal(Struct, frozen=True):
    """The status of the answer, and why, for a person."""

    status: int
    why: str


def refusal(method: str, headers: Mapping[str, str], names: Collection[str], *, page: bool) -> Refusal | None:
    """Return why a request is refused, None where it is not. `headers` by lower-case names; `names`: those given.

    `page`: the page itself is asked for, which others may link to.
    """
    authority = headers.get("host", "")
    found = _AUTHORITY.fullmatch(authority)
    host = found[1].lower().rstrip(".") if found else ""
    if not is_ours(host, names):
        return Refusal(
            421, f"this service does not know the name {authority[:100]!r} as its own: see HTTP_NAMES"
        )
    site = headers.get("sec-fetch-site", "none")
    linked = (
        page and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )
    if site not in ("same-origin", "none") and not linked:
        return Refusal(403, "another site has asked")
    origin = headers.get("origin")
    if origin is not None and not _is_own(origin.partition("://")[2].lower(), authority.lower(), names):
        return Refusal(
            403,
            f"another origin has asked, {origin[:100]!r}, and this is {authority[:100]!r} here: "
            "let the proxy pass `Host` on, or name the first in HTTP_NAMES",
        )
    if method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return Refusal(415, "expected application/json")
    return None


def _is_own(theirs: str, authority: str, names: Collection[str]) -> bool:
    """Whether an origin is the page's: what was asked for, or a name that was given (a proxy may ask by another)."""
    found = _AUTHORITY.fullmatch(theirs)
    return theirs == authority or (found is not None and found[1] in names)


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a request for this host (lower case, without port) cannot have been led here by a stranger's name."""
    if not host:
        return False
    if host in names or "." not in host.strip("[]"):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return any(host == zone or host.endswith(f".{zone}") for zone in PRIVATE_ZONES)
    return True


class Attempts:
    """Wrong tokens by address. Times are monotonic seconds, which the caller brings."""

    def __init__(self) -> None:
        self._wrong: dict[str, list[float]] = {}

    def may_try(self, address: str, now: float) -> bool:
        """Whether the address is heard."""
        return len(self._newest(address, now)) < ATTEMPTS

    def wrong(self, address: str, now: float) -> None:
        """It has given a wrong token."""
        newest = [*self._newest(address, now), now]
        self._wrong.pop(address, None)
        self._wrong[address] = newest
        if len(self._wrong) > MAX_ADDRESSES:
            del self._wrong[next(iter(self._wrong))]

    def _newest(self, address: str, now: float) -> list[float]:
        return [at for at in self._wrong.get(address, ()) if now - at < ATTEMPTS_S]
