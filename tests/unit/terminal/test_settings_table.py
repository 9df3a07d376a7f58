"""The settings: a table if there is room, else two lines each, and nothing is cut off."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from fastproc.terminal.settings_table import settings_table
from tests.unit.terminal.consoles import log, printed, terminal

SETTINGS = [
    ("REDIS_HOST", "redis.internal", "localhost", "Host of the Redis that holds the queue."),
    ("THUMBNAILS", "thumb_sm:150:75," * 8, "thumb_sm:150:75," * 8, "What to make, " * 12 + "in short."),
]


@pytest.mark.parametrize(
    "console", [terminal(160, False), terminal(60, False), log()], ids=["wide", "narrow", "log"]
)
def test_no_setting_is_cut_off(console: Console) -> None:
    lines = printed(settings_table(SETTINGS), console)
    assert max(map(len, lines)) <= console.width
    solid = re.sub(r"\s+", "", "".join(lines))
    for variable, value, default, _ in SETTINGS:
        assert variable in solid
        assert value == default or (value in solid and default in solid)
    assert "…" not in solid
    assert sum(line.startswith("* REDIS_HOST") for line in lines) == 1
    assert sum(line.startswith("  THUMBNAILS") for line in lines) == 1
    assert lines[-1] == "* differs from the default"


def test_settings_are_a_table_only_where_there_is_room() -> None:
    wide, narrow, logged = (
        printed(settings_table(SETTINGS), console)
        for console in (terminal(160, False), terminal(60, False), log(160))
    )
    assert wide[0].split() == ["variable", "value", "default", "meaning"]
    for lines in (narrow, logged):
        assert lines[0].startswith("* REDIS_HOST = redis.internal  (default: localhost)")
        assert lines[1].strip() == "Host of the Redis that holds the queue."
