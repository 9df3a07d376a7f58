"""Hides secrets in text: in settings that are shown, in error messages, and in whatever reaches the log.

Rule 1: what may be a password is hidden, however wrong the text around it is: a URL without a scheme, with characters
        that need quoting, or one that cannot be read at all. Too much may be hidden, never too little.
Rule 2: a signed URL is a secret: signature, credential and session token are hidden, and so are the same in headers.
Rule 3: values that are known to be secret are hidden wherever they stand (`Known`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "********"
#: Shorter secrets are hidden by their surroundings alone: each place where three letters stand cannot be.
LEAST_KNOWN_CHARS: Final = 6

_WORDS: Final = (
    "pass", "pwd", "secret", "token", "signature", "credential", "apikey", "accesskey", "authorization",
)  # fmt: skip
#: `user:password@` in a URL. It ends at the last `@` of the line: a password that is not quoted may have `/` and `@`.
_LOGIN: Final = re.compile(r"(?<=://)([^/?#:@\s]*):.*@")
#: The same without a scheme.
_BARE_LOGIN: Final = re.compile(r"""(?<![^\s"'(=])([^\s:@/?#"'(=]*):(?!//)([^\s"']*)@""")
#: What stands where a URL has its port, and is none: somebody forgot the host behind a password.
_NO_PORT: Final = re.compile(
    r"""(?<=://)([^/?#:@\s\[\]"']*):(?!\d{0,5}(?:[/?#,\s"'):;\\]|$))([^/?#@\s,"')]+)(?![^\s]*@)"""
)
#: A parameter of a query or of a connection string, a field of an Authorization header: `name=value`.
_PARAMETER: Final = re.compile(
    r"""([^\s=&?#;,"'({\[]+)(\s?=\s?)("[^"]*"|'[^']*'|(?:[^\s&,"'<>)\]}]|,(?!\s|$))+)"""
)
#: An item of a dictionary or of JSON: `'name': 'value'`.
_ITEM: Final = re.compile(r"""(["'])([\w%.-]+)\1(\s*:\s*)b?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
#: A header as it is sent.
_HEADER: Final = re.compile(
    r"(?im)\b((?:proxy-)?authorization|x-amz-security-token|x-api-key|cookie)(:\s*)(?!\*{8})([^\r\n]+)"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)(\s+)([\w.~+/=-]{8,})")
#: Source: Standard Webhooks 1.0.0, "Signature scheme".
_WEBHOOK: Final = re.compile(r"whsec_[\w+/=-]{8,}")
#: What every secret has around it, in lower case.
_SIGNS: Final = (
    "=", "@", "://", '":', "':", "whsec_", "bearer ", "basic ", "authorization:", "token:", "key:", "cookie:",
)  # fmt: skip


def masked(text: str) -> str:
    """Return the text without what may be a secret. Cost: a microsecond where nothing looks like one."""
    if not _may_have_one(text):
        return text
    if "@" in text:
        text = _BARE_LOGIN.sub(rf"\1:{MASK}@", _LOGIN.sub(rf"\1:{MASK}@", text))
    if "://" in text:
        text = _NO_PORT.sub(rf"\1:{MASK}", text)
    if _names_one(text):
        text = _HEADER.sub(rf"\1\2{MASK}", text)
        text = _ITEM.sub(_mask_item, _PARAMETER.sub(_mask_parameter, text))
    elif "%" in text:
        text = _PARAMETER.sub(_mask_parameter, text)
    return _WEBHOOK.sub(MASK, _BEARER.sub(rf"\1\2{MASK}", text))


def _may_have_one(text: str) -> bool:
    plain = text.lower()
    # A list: a generator takes twice as long.
    return any([sign in plain for sign in _SIGNS])  # noqa: C419


def _names_one(text: str) -> bool:
    plain = text.lower()
    return "cookie" in plain or "key" in plain or any(word in plain for word in _WORDS)


def is_secret_name(name: str) -> bool:
    """Whether what a parameter, header or field of this name holds is a secret; a name may be percent-encoded."""
    plain = unquote(name).lower().replace("_", "").replace("-", "")
    return any(word in plain for word in _WORDS) or plain == "cookie"


def _mask_parameter(found: re.Match[str]) -> str:
    if is_secret_name(found[1]):
        return f"{found[1]}{found[2]}{MASK}"
    # What it holds may be a URL.
    return found[1] + found[2] + _PARAMETER.sub(_mask_parameter, found[3])


def _mask_item(found: re.Match[str]) -> str:
    mark, name, colon = found[1], found[2], found[3]
    return f"{mark}{name}{mark}{colon}{mark}{MASK}{mark}" if is_secret_name(name) else found[0]


class Known:
    """Secrets whose values are known, in the forms that may come: plain, quoted for URLs, as Python shows them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            for plain in {secret, unquote(secret)}:
                forms |= {plain, quote(plain, safe=""), quote(plain), quote_plus(plain), repr(plain)[1:-1]}
        # The longest first: one may begin with another.
        self._forms = sorted(
            (form for form in forms if len(form) >= LEAST_KNOWN_CHARS), key=len, reverse=True
        )

    def has_one(self, text: str) -> bool:
        """Whether one of them stands in a text that has none of the signs `=`, `:`, `@`, quotes and spaces."""
        return "whsec_" in text or any([form in text for form in self._forms])  # noqa: C419

    def masked(self, text: str) -> str:
        """Return the text without them, and without what else may be a secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return masked(text)
