"""Which texts of the settings are secrets: the log hides them wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from fastproc.config.settings import Config
from fastproc.core.masking import is_secret_name


def secrets_of(config: Config) -> tuple[str, ...]:
    """Return the values of secret variables, and what is secret in URLs: passwords, whole addresses of webhooks."""
    found: dict[str, None] = {}
    for room in get_type_hints(Config):
        struct = getattr(config, room)
        for value, is_secret in _texts(struct):
            found |= dict.fromkeys(_in_url(value, is_secret=is_secret))
            if is_secret:
                found[value] = None
    for own in config.pipeline.stage_settings.values():
        found |= {value: None for name, value in own.items() if is_secret_name(name)}
    # A receiver's address often is all that it asks for.
    for url in config.webhook.urls:
        parts = urlsplit(url)
        rest = parts._replace(scheme="", netloc="").geturl()
        if len(rest) > 1:
            found[parts.netloc.rpartition("@")[2] + rest] = None
    return tuple(found)


def _texts(struct: Struct) -> Iterator[tuple[str, bool]]:
    """Every text of a room's settings, and whether its variable is secret."""
    for name, hint in get_type_hints(type(struct), include_extras=True).items():
        value: Any = getattr(struct, name)
        is_secret = hasattr(hint, "__metadata__") and hint.__metadata__[0].extra.get("secret") is True
        for each in value if isinstance(value, tuple) else (value,):
            # Of a header, which is a pair, the value.
            text = each[-1] if isinstance(each, tuple) and each else each
            if isinstance(text, str) and text:
                yield text, is_secret


def _in_url(text: str, *, is_secret: bool) -> Iterator[str]:
    """What is secret in a URL; of a secret URL also the name in front of its host."""
    if "://" not in text:
        return
    # Not by urlsplit: `config.values` takes passwords that need quoting and have none.
    login, at, _ = text.partition("://")[2].rpartition("@")
    name, _, password = login.partition(":")
    if at:
        yield from filter(None, (password, name if is_secret else ""))
    for name, value in parse_qsl(urlsplit(text).query):
        if value and is_secret_name(name):
            yield value
