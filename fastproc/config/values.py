"""How a variable's text becomes a value, and how a value is shown as text.

Rule 1: no error message and no shown value has a password in it, however wrong the text is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta

from fastproc.config.misspelt import likely
from fastproc.core import masking
from fastproc.core.model import Format, ThumbnailSpec


def var(name: str, meaning: str, *, extra: dict[str, Any] | None = None, **bounds: Any) -> Meta:
    """Return the annotation of a field: its variable, its meaning and its bounds.

    `extra` may hold `parse`, `secret` ("path": of its URLs, all behind the host), `shown` (the default in words), and
    `no_file` (NAME_FILE is not read).
    """
    return Meta(description=meaning, extra={"env": name, **(extra or {})}, **bounds)


#: Formats that a worker can have a decoder for; `parts` asks which it has one for. (Of raw files, the preview counts.)
FORMATS = ("jpeg", "png", "webp", "heic", "avif", "gif", "raw", "jxl")


def names(text: str) -> tuple[str, ...]:
    """Return the parts between commas, without empty ones and without spaces around them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def formats(text: str) -> tuple[str, ...]:
    """Return the formats that the text names. Raises ValueError for an unknown format, or none at all."""
    given = names(text.lower())
    wrong = [name for name in given if name not in FORMATS]
    if wrong or not given:
        meant = likely(wrong[0], FORMATS) if wrong else ""
        raise ValueError(f"expected some of {', '.join(FORMATS)}{meant}")
    return given


def thumbnails(text: str) -> tuple[ThumbnailSpec, ...]:
    """Parse `name:side:quality[:format],...`. Raises ValueError for anything else, and for a name used twice."""
    specs = []
    for part in names(text):
        found = re.fullmatch(r"([A-Za-z0-9_-]{1,64}):(\d{1,5}):(\d{1,3})(?::(jpeg|webp|avif))?", part)
        if not found:
            raise ValueError(f"expected name:side:quality or name:side:quality:jpeg|webp|avif, not {part!r}")
        side, quality = int(found[2]), int(found[3])
        if not 1 <= side <= 10_000 or not 1 <= quality <= 100:
            raise ValueError(f"expected a side of 1..10000 px and a quality of 1..100, not {part!r}")
        specs.append(ThumbnailSpec(found[1], side, quality, cast(Format | None, found[4])))
    if len({spec.name for spec in specs}) != len(specs):
        raise ValueError("two thumbnails have the same name")
    return tuple(specs)


def host_name(text: str) -> str:
    """Return a host name or an address, IPv6 without brackets. Raises ValueError for a URL, and for a port."""
    plain = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if plain == text and re.fullmatch(r"[A-Za-z0-9._-]+", text):
        return text
    if re.fullmatch(r"[0-9A-Fa-f:.]+", plain) and _is_ipv6(plain):
        return plain
    raise ValueError("expected a host name or address without scheme, path or port")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def host_and_port(host: str, port: int) -> str:
    """Return a server as URLs and messages name it: an IPv6 address has brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser that takes URLs of these schemes. Others raise ValueError, and so does an impossible port."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)

    def parse(text: str) -> str:
        parts = _split(text)
        if parts.scheme not in schemes:
            raise ValueError(f"expected a URL that begins with {wanted}")
        if parts.scheme != "unix" and (not parts.hostname or not _port_is_possible(parts)):
            raise ValueError("the URL names no host, or no possible port")
        return text

    return parse


def server_url(text: str) -> str:
    """Return the URL of a server, without a path. Raises ValueError."""
    parts = _split(url("http", "https")(text))
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("expected http:// or https:// with a host and perhaps a port, nothing else")
    return text.rstrip("/")


def _split(text: str) -> SplitResult:
    """Raises ValueError with a message of our own, because Python's would contain the password."""
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("this is not a URL") from None


def _port_is_possible(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def redis_url(text: str) -> str:
    """Return a URL that `bullmq.address` reads: of a server, of Sentinels or of a cluster. Raises ValueError."""
    parts = _split(text)
    base, plus, kind = parts.scheme.partition("+")
    if not plus:
        return url("redis", "rediss", "unix")(text)
    if base not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
        raise ValueError("expected redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not all(re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", each) for each in hosts):
        raise ValueError("expected host:port,host:port")
    if kind == "sentinel" and not parts.path.strip("/"):
        raise ValueError("expected the service's name after the hosts: redis+sentinel://host:26379/mymaster")
    return text


def postgresql_url(text: str) -> str:
    """Return a URL in the form that libpq reads, with any number of hosts or a socket's folder. Raises ValueError."""
    parts = _split(text)
    login, _, hosts = parts.netloc.rpartition("@")
    if "@" in login or parts.fragment:
        raise ValueError("special characters of user and password need %-escapes: @ is %40, # is %23")
    if not all(_is_host(each) for each in hosts.split(",")):
        raise ValueError(
            "expected host:port; special characters of user and password need %-escapes: / is %2F"
        )
    return text


def _is_host(text: str) -> bool:
    """Whether it is a host or a socket's folder, with a port or without one."""
    found = re.fullmatch(r"(?:[A-Za-z0-9._%-]*|\[[0-9A-Za-z:.%]+\])(?::(\d{1,5}))?", text)
    return found is not None and 0 < int(found[1] or 1) < 65_536


def queue_name(text: str) -> str:
    """Return the name. Raises ValueError for one that BullMQ refuses."""
    if ":" in text:
        raise ValueError("a BullMQ queue name has no ':' in it")
    return text


def text_of(value: Any) -> str:
    """Return a value as it would be written in its variable."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, ThumbnailSpec):
        return ":".join(map(str, filter(None, (value.name, value.side_px, value.quality, value.format))))
    if isinstance(value, tuple):
        return ",".join(text_of(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


#: A login in front of a host, without a scheme: whatever stands before the last `@`, spaces included.
_LOGIN = re.compile(r"^([^:@]*):.*@", re.DOTALL)
#: A parameter of a URL's query, to its end: what needs quotes there may have none.
_IN_QUERY = re.compile(r"(?<=[?&])([^=&#]+)=([^&]*)")

#: A URL up to the end of its host, and what follows.
_HOST_AND_REST = re.compile(r"(://[^/?#\s\\]*)[/?#\s\\].*", re.DOTALL)


def masked(text: str, *, secret: bool | str) -> str:
    """Return the text without its secrets: a secret variable is masked whole, of others what may be a password."""
    if secret == "path":
        return ",".join(_host_of(url) for url in text.split(",")) if text else ""
    if secret:
        return masking.MASK if text else ""
    if "@" in text and "://" not in text:
        text = _LOGIN.sub(rf"\1:{masking.MASK}@", text)
    return masking.masked(_IN_QUERY.sub(_mask, text))


def _mask(found: re.Match[str]) -> str:
    return f"{found[1]}={masking.MASK}" if masking.is_secret_name(found[1]) else found[0]


def _host_of(url: str) -> str:
    """A URL without what follows its host; what is none is masked whole."""
    return masking.masked(_HOST_AND_REST.sub(rf"\1/{masking.MASK}", url)) if "://" in url else masking.MASK
