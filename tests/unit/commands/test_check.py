"""The plan that `fastproc check` shows: supervisors, their parts, and the memory that they lack."""

from __future__ import annotations

import io

from rich.console import Console

from fastproc.commands import check
from fastproc.config.settings import load

GIB = 1 << 30


def plan(env: dict[str, str], limit: int = 0) -> str:
    console = Console(file=io.StringIO(), width=200)
    check._show_plan(console, load(env, 5), limit)
    return console.file.getvalue()


def test_one_supervisor_needs_no_words() -> None:
    assert plan({}) == ""


def test_several_are_shown_with_what_each_gets() -> None:
    assert plan({"SUPERVISORS": "2"}) == (
        "ok   supervisors: 2, with 2, 3 workers; rate limit 5, 5 per 1000 ms\n"
    )
    assert "rate limit" not in plan({"SUPERVISORS": "2", "RATE_LIMIT_MAX": "0"})


def test_each_is_held_against_its_part_of_the_memory() -> None:
    enough = 3 * GIB
    assert "WARN" not in plan({}, enough)
    assert "WARN memory: the memory limit of 1024 MiB" in plan({}, GIB)
    assert "WARN memory: supervisor 1 of 2: the memory limit of 482 MiB" in plan({"SUPERVISORS": "2"}, GIB)
