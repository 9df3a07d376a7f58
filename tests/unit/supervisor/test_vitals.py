"""Series of the workers' processes and of the host, in the format that Prometheus reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fastproc.supervisor.vitals import Vitals

SOME = "some avg10=12.50 avg60=1.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


def registry(pids: dict[int, int], pressure: Path) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Vitals(lambda: pids, pressure))
    return made


def test_a_slot_shows_what_its_process_uses(tmp_path: Path) -> None:
    made = registry({3: os.getpid()}, tmp_path)
    rss = made.get_sample_value("fastproc_worker_process_rss_bytes", {"slot": "3"})
    cpu = made.get_sample_value("fastproc_worker_process_cpu_seconds_total", {"slot": "3"})
    assert rss is not None
    assert rss > 1 << 20
    assert cpu == pytest.approx(sum(os.times()[:2]), abs=5)


def test_a_process_that_is_gone_has_no_value_and_hides_no_other(tmp_path: Path) -> None:
    made = registry({0: 1 << 22, 1: os.getpid()}, tmp_path)
    assert made.get_sample_value("fastproc_worker_process_rss_bytes", {"slot": "0"}) is None
    assert made.get_sample_value("fastproc_worker_process_rss_bytes", {"slot": "1"})


def test_pressure_is_a_share_and_absent_where_the_kernel_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text(SOME)
    (tmp_path / "io").write_text("")
    made = registry({}, tmp_path)
    assert made.get_sample_value("fastproc_host_pressure_ratio", {"resource": "memory"}) == 0.125
    assert made.get_sample_value("fastproc_host_pressure_ratio", {"resource": "cpu"}) is None
    assert made.get_sample_value("fastproc_host_pressure_ratio", {"resource": "io"}) is None
