"""Reports of load tests that were never run."""

from __future__ import annotations

from typing import Any

from fastproc.load.arrivals import Burst
from fastproc.load.figures import Course, figures
from fastproc.load.report import CpuPerJob, Machine, Report, Run, Varied


def run(value: float, work_ms: float = 100.0, **more: Any) -> Run:
    courses = [
        Course(due_ms=0, added_ms=0, taken_ms=5 * n, ended_ms=5 * n + work_ms, reason="")
        for n in range(1, 21)
    ]
    about: dict[str, Any] = {"hosts": 1, "workers": 1, "concurrency": int(value)}
    return Run(load=Burst(jobs=20), value=value, figures=figures(courses), **{**about, **more})


def report(runs: list[Run], varied: Varied = "concurrency", target: Any = "embedded") -> Report:
    return Report(
        command="fastproc bench --sweep 1,2,4",
        at="2026-01-02T03:04:05Z",
        target=target,
        environment={},
        machine=Machine(
            cpu="Some CPU",
            cores=8,
            usable_cores=4,
            memory_bytes=16_000_000_000,
            kernel="Linux 6",
            python="3.11",
        ),
        versions={"fastproc": "0.1.0", "bullmq": "2", "redis": "Valkey 9"},
        settings={},
        photos={"a.jpg": 1_000_000, "b.jpg": 2_000_000},
        seed=1,
        varied=varied,
        runs=runs,
        notes=[],
    )


CPU = CpuPerJob(all=50.0, supervisor=8.0, workers=42.0)
