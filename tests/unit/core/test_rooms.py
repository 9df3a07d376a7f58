"""Rooms of an event: from its fields, each once, and none where there is no field."""

from __future__ import annotations

from typing import Any

import pytest

from fastproc.core import rooms

BOTH = ("{clientId}", "{sessionId}")


@pytest.mark.parametrize(
    ("patterns", "data", "found"),
    [
        (BOTH, {"clientId": "c", "sessionId": "s"}, ("c", "s")),
        (BOTH, {"clientId": "c", "sessionId": None}, ("c",)),
        (BOTH, {"clientId": "", "sessionId": None}, ()),
        (BOTH, {}, ()),
        (BOTH, {"clientId": "same", "sessionId": "same"}, ("same",)),
        (BOTH, {"clientId": 7, "sessionId": "7"}, ("7", 7)),
        (BOTH, {"clientId": 0}, ("0", 0)),
        (BOTH, {"clientId": -7, "sessionId": 2**53}, ("-7", -7, str(2**53))),
        (("c:{clientId}",), {"clientId": 7}, ("c:7",)),
        (("{clientId}/{photoId}",), {"clientId": "c", "photoId": "p"}, ("c/p",)),
        (("{clientId}/{photoId}",), {"clientId": "c", "photoId": ""}, ()),
        (("{clientId}",), {"clientId": "{photoId}", "photoId": "p"}, ("{photoId}",)),
        (("{clientId}",), {"clientId": "x" * 1025}, ()),
        (("{jobId}",), {"jobId": "repeat:s:1"}, ("repeat:s:1",)),
    ],
)
def test_an_event_is_for_the_rooms_that_its_fields_name(
    patterns: tuple[str, ...], data: dict[str, Any], found: tuple[rooms.Room, ...]
) -> None:
    assert rooms.of(patterns, data) == found


@pytest.mark.parametrize("text", ["{clientId}", "a{sessionId}b", "{photoId}:{jobId}", "é {clientId}"])
def test_what_names_a_field_is_a_pattern(text: str) -> None:
    assert rooms.is_pattern(text)


@pytest.mark.parametrize("text", ["", "all", "clientId", "{clientid}", "{clientId}{", "{{clientId}}", "{}"])
def test_what_names_none_or_has_other_braces_is_no_pattern(text: str) -> None:
    assert not rooms.is_pattern(text)


def test_numbers_that_javascript_does_not_have_become_text() -> None:
    data = {"a": 2**53, "b": -(2**53), "c": 2**53 - 1, "d": 1.5, "e": None, "f": True, "g": 10**300}
    assert rooms.exact(data) == {**data, "a": str(2**53), "b": str(-(2**53)), "g": str(10**300)}
