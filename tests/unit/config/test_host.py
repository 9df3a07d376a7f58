"""Cores by quota and affinity, from cgroup files as kernels write them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fastproc.config.host import service_name, usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


def v1(folder: Path, quota: str, period: str = "100000\n") -> Path:
    (folder / "cpu").mkdir()
    (folder / "cpu/cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu/cpu.cfs_period_us").write_text(period)
    return folder


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("25000 10000\n", 3),
    ],
)
def test_the_quota_of_a_v2_cgroup_is_rounded_up_and_never_more_than_the_affinity(
    tmp_path: Path, text: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("quota", "cores"), [("-1\n", 8), ("300000\n", 3), ("250000\n", 3), ("10000\n", 1), ("0\n", 8)]
)
def test_the_quota_of_a_v1_cgroup_counts_likewise(tmp_path: Path, quota: str, cores: int) -> None:
    assert usable_cores(v1(tmp_path, quota)) == cores


def test_the_v2_file_goes_before_the_v1_files(tmp_path: Path) -> None:
    (v1(tmp_path, "100000\n") / "cpu.max").write_text("500000 100000\n")
    assert usable_cores(tmp_path) == 5


@pytest.mark.parametrize("text", ["", "nonsense", "a b\n", "100000\n", "100000 0\n", "1 2 3\n"])
def test_a_file_that_cannot_be_read_means_no_limit(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == 8


def test_no_cgroup_at_all_means_no_limit(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8
    assert usable_cores(v1(tmp_path, "100000\n", "0\n")) == 8


def test_fewer_cores_by_affinity_are_fewer_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    assert usable_cores(tmp_path) == 1


def test_a_services_name_says_host_and_pid_and_has_nothing_unprintable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a b\nü.example")
    assert service_name() == f"fastproc-a-b--.example-{os.getpid()}"
