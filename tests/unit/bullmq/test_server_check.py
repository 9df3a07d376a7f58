"""Which servers can carry a queue, and what is said about them."""

from __future__ import annotations

import pytest

from fastproc.bullmq.server_check import NEWEST, judge, parse


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.0.16"}, "too old"),
        ({"redis_version": ""}, "too old"),
        ({}, "too old"),
        ({"redis_version": "7.2.4", "role": "slave"}, "replica"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0", "role": "replica"}, "replica"),
    ],
)
def test_a_server_that_cannot_carry_a_queue_is_refused(info: dict[str, str], words: str) -> None:
    assert words in judge(info).refusal


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"redis_version": "6.2.0"}, "Redis 6.2.0"),
        ({"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "role": "master"}, "Redis 7.2.4"),
        # Valkey shows an old version of Redis beside its own.
        ({"redis_version": "6.0.0", "valkey_version": "7.2.5"}, "Valkey 7.2.5"),
    ],
)
def test_a_server_that_can_carry_a_queue_is_named_without_a_word(info: dict[str, str], name: str) -> None:
    check = judge(info)
    assert (check.name, check.refusal, check.warnings) == (name, "", ())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "noeviction"),
        ({"loading": "1"}, "loading"),
        ({"redis_version": f"{NEWEST['Redis'] + 1}.0.0"}, "newer"),
        ({"valkey_version": f"{NEWEST['Valkey'] + 1}.0.0"}, "newer"),
    ],
)
def test_what_an_operator_should_know_is_a_warning(more: dict[str, str], words: str) -> None:
    check = judge({"redis_version": "7.2.4", **more})
    assert check.refusal == ""
    assert len(check.warnings) == 1
    assert words in check.warnings[0]


def test_info_is_read_line_by_line_without_its_headings() -> None:
    raw = b"# Server\r\nredis_version:7.2.4\r\nos:Linux: x\r\n\r\n# Memory\r\nbad\xff:1\r\nno colon\r\n"
    assert parse(raw) == {"redis_version": "7.2.4", "os": "Linux: x", "bad\ufffd": "1"}
