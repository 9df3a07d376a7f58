"""The plan that `fastproc check` shows: supervisors, their parts, and what the host does not give."""

from __future__ import annotations

import io

from rich.console import Console

from fastproc.commands import check
from fastproc.config.fit import Room
from fastproc.config.settings import load

GIB = 1 << 30


def plan(env: dict[str, str], memory_bytes: int = 0, cores: int = 5) -> str:
    file = io.StringIO()
    here = Room(memory_bytes=memory_bytes, cores=cores)
    check._show_plan(Console(file=file, width=400), load(env, 5), here)
    return file.getvalue()


def test_one_supervisor_needs_no_words() -> None:
    assert plan({}) == ""


def test_several_are_shown_with_what_each_gets() -> None:
    assert plan({"SUPERVISORS": "2"}) == (
        "ok   supervisors: 2, with 2, 3 workers; rate limit 5, 5 per 1000 ms\n"
    )
    assert "rate limit" not in plan({"SUPERVISORS": "2", "RATE_LIMIT_MAX": "0"})


def test_the_plan_of_all_of_them_is_compared_with_the_host_once() -> None:
    assert plan({}, 3 * GIB) == ""
    for env in ({}, {"SUPERVISORS": "2"}):
        warnings = [line for line in plan(env, GIB).splitlines() if "WARN" in line]
        assert len(warnings) == 1
        assert "WORKER_CONCURRENCY: 5 busy workers" in warnings[0]
        assert "is 1024 MiB" in warnings[0]
    assert "5 workers share 4 cores" in plan({"SUPERVISORS": "2"}, cores=4)
