"""The table of a load test: every figure, in 60 columns, whatever was measured."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
from rich.console import Console

from fastproc.load.figures import Course, figures
from fastproc.load.report import Report
from fastproc.load.table import tables
from tests.unit.load.reports import CPU, report, run


def shown(given: Report, width: int = 60) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in tables(given, width):
        console.print(table)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_tables_fit_the_width_and_have_every_run(width: int) -> None:
    found = shown(report([run(2.0**n, cpu_ms_per_job=CPU, pss_bytes=314 << 20) for n in range(9)]), width)
    assert max(len(line.rstrip()) for line in found.splitlines()) <= width
    heads = [line for line in found.splitlines() if line.startswith("WORKER_CONCURRENCY")]
    assert [int(word) for head in heads for word in head.split()[1:]] == [2**n for n in range(9)]
    assert "…" not in found


def test_a_table_has_every_figure_that_was_measured() -> None:
    rows = shown(report([run(2, cpu_ms_per_job=CPU)])).splitlines()
    found = dict(re.split(r" {2,}", line.strip()) for line in rows[2:])
    assert found["completed"] == "20"
    assert found["jobs/s"] == "100.0"
    assert found["CPU ms/job"] == "50.0"
    assert found["supervisor"] == "8.0"
    assert found["latency p50"] == "150 ms"
    assert found["queue p50"] == "50 ms"
    assert found["work p50"] == "100 ms"
    # The last of three rows of p99: that of the work.
    assert found["p99"] == "100 ms"


def test_what_was_not_measured_has_no_row() -> None:
    found = shown(report([run(2)], target="running"))
    for name in ("CPU ms/job", "PSS", "photos/s/core", "not ended"):
        assert name not in found


def test_a_failure_has_a_row_by_its_code_in_every_run() -> None:
    failed = Course(due_ms=0, added_ms=0, taken_ms=1, ended_ms=9, reason="FILE_CORRUPTED: x")
    bad = msgspec.structs.replace(run(2), figures=figures([failed]))
    [row] = [line.split() for line in shown(report([run(1), bad])).splitlines() if "FILE_CORRUPTED" in line]
    assert row == ["FILE_CORRUPTED", "0", "1"]
    assert "-" in shown(report([run(1), bad]))
