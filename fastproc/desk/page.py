"""The page itself: one file, with a policy that lets the browser run what is in it and nothing else.

Rule 1: script and style are allowed by their hashes, as they are in the file; nothing is loaded from elsewhere but
        pictures, from the object store's own addresses.
Rule 2: no site may frame it, no form can be sent, no address of it (with a key, say) is told to another site.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

from fastproc.supervisor.requests import Reply


def page(pictures: Sequence[str]) -> Reply:
    """Return the page; `pictures`: the origins that pictures may come from."""
    body = source()
    return Reply(
        body=body,
        kind="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": policy(body, pictures),
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )


@cache
def source() -> bytes:
    """Return the file."""
    return resources.files(__package__).joinpath("page.html").read_bytes()


def policy(body: bytes, pictures: Sequence[str]) -> str:
    """Return the page's Content-Security-Policy."""
    rules = {
        "default-src": ["'none'"],
        "script-src": hashes(body, b"script"),
        "style-src": hashes(body, b"style"),
        # The empty icon, which keeps browsers from asking for one.
        "img-src": ["data:", *pictures],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(allowed)}" for name, allowed in rules.items())


def hashes(body: bytes, element: bytes) -> list[str]:
    """Return the hash of the text in each of the file's elements of that name."""
    inside = re.findall(rb"<%s>(.*?)</%s>" % (element, element), body, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text).digest()).decode() for text in inside)
    return [f"'sha256-{digest}'" for digest in digests]
