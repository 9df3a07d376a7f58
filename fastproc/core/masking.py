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
from urllib.parse import unquote

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
#: A word that may have one; looked for once a word, so that a word without end does not hold the loop up.
_TO_LAST_AT: Final = re.compile(r"""(?<![^\s"'])[^\s"']*@""")
#: What stands where a URL has its port, and is none: somebody forgot the host behind a password.
_NO_PORT: Final = re.compile(
    r"""(?<=://)([^/?#:@\s\[\]"']*):(?!\d{0,5}(?:[/?#,\s"'):;\\]|$))([^/?#@\s,"')]+)(?![^\s]*@)"""
)
#: A parameter of a query or of a connection string, a field of an Authorization header: `name=value`. A name is looked
#: for where a word begins, and its value only where it is secret: a word without end must not hold the loop up.
_NAME: Final = re.compile(r"""(?<![^\s=&?#;,"'({\[<>)\]}])([^\s=&?#;,"'({\[<>)\]}]+[<>)\]}]*)\s?=\s?""")
#: A quote may lack its end: texts are cut.
_VALUE: Final = re.compile(r""""[^"]*"?|'[^']*'?|(?:[^\s&,"'<>)\]}]|,(?!\s|$))+""")
#: An item of a dictionary or of JSON: `'name': 'value'`.
_ITEM: Final = re.compile(r"""(["'])([\w%.-]+)\1(\s*:\s*)b?("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)""")
#: A header as it is sent.
_HEADER: Final = re.compile(
    r"(?im)\b((?:proxy-)?authorization|x-amz-security-token|x-api-key|cookie)(:\s*+)(?!\*{8})([^\r\n]+)"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)(\s+)([\w.~+/=-]{8,})")
#: Source: Standard Webhooks 1.0.0, "Signature scheme".
_WEBHOOK: Final = re.compile(r"whsec_[\w+/=-]{8,}")
#: What every secret has around it, in lower case.
_SIGNS: Final = (
    "=", "@", "://", '":', "':", "whsec_", "bearer ", "basic ", "authorization:", "token:", "key:", "cookie:",
)  # fmt: skip

#: A backslash, doubled as often as texts are put into texts.
_ESCAPE: Final = r"\\{1,4}"
#: Signs with an escape of their own.
_SHORT: Final = {sign: _ESCAPE + letter for sign, letter in zip("\n\r\t\b\f", "nrtbf", strict=True)} | {
    " ": r"\+"
}


def masked(text: str) -> str:
    """Return the text without what may be a secret. Cost: a microsecond where nothing looks like one."""
    if not _may_have_one(text):
        return text
    if "@" in text:
        text = _LOGIN.sub(rf"\1:{MASK}@", text)
        text = _TO_LAST_AT.sub(lambda word: _BARE_LOGIN.sub(rf"\1:{MASK}@", word[0]), text)
    if "://" in text:
        text = _NO_PORT.sub(rf"\1:{MASK}", text)
    if _names_one(text):
        text = _HEADER.sub(rf"\1\2{MASK}", text)
        text = _ITEM.sub(_mask_item, _without_parameters(text))
    elif "%" in text:
        text = _without_parameters(text)
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


def _without_parameters(text: str) -> str:
    parts, done, at = [], 0, 0
    while found := _NAME.search(text, at):
        # What a parameter holds that is no secret may be a URL, with parameters of its own.
        at = found.end()
        if is_secret_name(found[1]) and (value := _VALUE.match(text, at)):
            parts += [text[done:at], MASK]
            done = at = value.end()
    return "".join([*parts, text[done:]])


def _mask_item(found: re.Match[str]) -> str:
    mark, name, colon = found[1], found[2], found[3]
    return f"{mark}{name}{mark}{colon}{mark}{MASK}{mark}" if is_secret_name(name) else found[0]


class Known:
    """Secrets whose values are known, in every form: plain, quoted as in URLs, escaped by JSON or Python."""

    def __init__(self, secrets: Iterable[str]) -> None:
        plain = {each for secret in secrets for each in (secret, unquote(secret))}
        long = (each for each in plain if len(each) >= LEAST_KNOWN_CHARS)
        #: The longest first: one may begin with another. With each the part that no form changes: few texts have it.
        self._secrets = [(_unchanged(each), _any_form(each)) for each in sorted(long, key=len, reverse=True)]

    def has_one(self, text: str) -> bool:
        """Whether one of them may stand in a text that has none of the signs `=`, `:`, `@`, quotes and spaces."""
        return "whsec_" in text or any([part in text for part, _ in self._secrets])  # noqa: C419

    def masked(self, text: str) -> str:
        """Return the text without them, and without what else may be a secret."""
        for part, form in self._secrets:
            if part in text:
                text = form.sub(MASK, text)
        return masked(text)


def _unchanged(secret: str) -> str:
    parts: list[str] = re.findall(r"[A-Za-z0-9_.-]*", secret)
    return max(parts, key=len)


def _any_form(secret: str) -> re.Pattern[str]:
    return re.compile("".join(map(_forms_of, re.findall(r"(?s)\\+|[^\\]", secret))))


def _forms_of(sign: str) -> str:
    """An expression for what quoting and escaping make of a sign, or of backslashes, and of that once more."""
    if _unchanged(sign):
        return re.escape(sign)
    if sign[0] == "\\":
        return rf"(?i:\\{{1,{4 * len(sign)}}}|(?:%(?:25)*5c|{_ESCAPE}(?:x5c|u005c))+)"
    # Bytes of the environment that are no text are single surrogates here.
    raw = bytes([ord(sign) - 0xDC00]) if "\udc80" <= sign <= "\udcff" else b""
    octets, pairs = raw or sign.encode("utf-8", "surrogatepass"), sign.encode("utf-16-be", "surrogatepass")
    forms = [
        "".join(f"%(?:25)*{octet:02x}" for octet in octets),
        "".join(rf"{_ESCAPE}x{octet:02x}" for octet in octets),
        "".join(rf"{_ESCAPE}u{high:02x}{low:02x}" for high, low in zip(pairs[::2], pairs[1::2], strict=True)),
        rf"{_ESCAPE}(?:x{ord(sign):02x}|u{ord(sign):08x})",
        rf"\\{{0,4}}{re.escape(sign)}",
    ]
    if sign in _SHORT:
        forms.append(_SHORT[sign])
    return f"(?i:{'|'.join(forms)})"
