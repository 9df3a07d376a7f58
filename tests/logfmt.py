"""Reads logfmt strictly, by the published grammar and nothing of the service's own.

Source: the EBNF in the documentation of github.com/kr/logfmt, with the escapes of its `unquote` (those of JSON); what
the grammar lets pass as garbage is an error here.
"""

from __future__ import annotations

import re

#: ident_byte = any byte greater than ' ', excluding '=' and '"'.
_IDENT = re.compile(r'[^\x00-\x20="]+')
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def parsed(line: str) -> dict[str, str]:
    """Return the pairs of a line. Raises ValueError for what is not logfmt, and for a name that comes twice."""
    found: dict[str, str] = {}
    at = 0
    while at < len(line):
        if found:
            if line[at] != " ":
                raise ValueError(f"a pair ends in {line[at:]!r}")
            at += 1
        key = _IDENT.match(line, at)
        if not key or line[key.end() : key.end() + 1] != "=":
            raise ValueError(f"no pair: {line[at:]!r}")
        value, at = _value(line, key.end() + 1)
        if key[0] in found:
            raise ValueError(f"{key[0]} comes twice")
        found[key[0]] = value
    return found


def _value(line: str, at: int) -> tuple[str, int]:
    if line[at : at + 1] != '"':
        plain = _IDENT.match(line, at)
        return (plain[0], plain.end()) if plain else ("", at)
    signs, at = [], at + 1
    while True:
        sign = line[at : at + 1]
        if sign == '"':
            return "".join(signs).encode("utf-16", "surrogatepass").decode("utf-16"), at + 1
        if sign < " ":
            raise ValueError(f"a control character or no end of a quoted value: {line[at:]!r}")
        if sign != "\\":
            signs, at = [*signs, sign], at + 1
        elif line[at + 1 : at + 2] == "u":
            signs, at = [*signs, chr(int(line[at + 2 : at + 6], 16))], at + 6
        else:
            signs, at = [*signs, _SHORT[line[at + 1]]], at + 2
