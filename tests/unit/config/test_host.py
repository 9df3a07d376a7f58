"""Cores by quota and affinity, memory by limits, from cgroup files as kernels write them; name and time zone."""

from __future__ import annotations

import os
import resource
import socket
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fastproc.config.host import (
    free_ratio,
    local_zone,
    memory_limit,
    memory_used,
    oom_kills,
    room,
    service_name,
    tasks_left,
    usable_cores,
)


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


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "where", "limit"),
    [
        ({"memory.max": "536870912\n"}, "0::/\n", 536870912),
        ({"memory.max": "max\n"}, "0::/\n", 0),
        ({}, "0::/\n", 0),
        ({}, "", 0),
        # Nested: the least of all around counts.
        ({"a/memory.max": "max", "a/b/memory.max": "2097152"}, "0::/a/b\n", 2097152),
        ({"a/memory.max": "1048576", "a/b/memory.max": "2097152"}, "0::/a/b\n", 1048576),
        # The host's path is not there in a container: what is mounted is the container's own.
        ({"memory.max": "1048576"}, "0::/docker/0123\n", 1048576),
        ({"memory.max": "1048576"}, "0::/../other\n", 1048576),
        # v1, whose "no limit" is a large number.
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "4:memory:/\n", 0),
        ({"memory/a/memory.limit_in_bytes": "4096", "cpu/x": ""}, "4:memory:/a\n0::/\n", 4096),
        ({"memory/memory.limit_in_bytes": "4096"}, "4:memory:/docker/0123\n", 4096),
        ({"memory.max": "nonsense"}, "0::/\n", 0),
    ],
)
def test_the_memory_limit_is_the_least_of_its_cgroup_and_those_around(
    files: dict[str, str], where: str, limit: int, tmp_path: Path
) -> None:
    assert memory_limit(written(tmp_path / "fs", files), own(tmp_path, where)) == limit


@pytest.mark.parametrize(
    ("files", "where", "kills"),
    [
        ({"memory.events": "low 0\noom 9\noom_kill 7\noom_group_kill 1\n"}, "0::/\n", 7),
        ({"memory.events": "low 0\n"}, "0::/\n", 0),
        ({}, "0::/\n", 0),
        ({"a/memory.events": "oom_kill 2\n", "memory.events": "oom_kill 9\n"}, "0::/a\n", 2),
        ({"memory/memory.oom_control": "under_oom 0\noom_kill 3\n"}, "4:memory:/\n", 3),
    ],
)
def test_the_kernels_kills_are_counted_in_the_own_cgroup(
    files: dict[str, str], where: str, kills: int, tmp_path: Path
) -> None:
    (tmp_path / "fs").mkdir()
    assert oom_kills(written(tmp_path / "fs", files), own(tmp_path, where)) == kills


@pytest.mark.parametrize(
    ("files", "where", "cores"),
    [
        # v2: the least quota of all around counts, wherever it is.
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 2),
        ({"a/cpu.max": "max 100000", "a/b/cpu.max": "150000 100000"}, "0::/a/b\n", 2),
        ({"cpu.max": "100000 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 1),
        ({"a/cpu.max": "50000 20000", "a/b/cpu.max": "500000 100000"}, "0::/a/b\n", 3),
        ({"b/cpu.max": "100000 100000", "a/cpu.max": "max 100000"}, "0::/a\n", 8),
        # v2, with a cgroup whose name is a controller's.
        ({"cgroup.controllers": "cpu", "cpu/x/cpu.max": "300000 100000"}, "0::/cpu/x\n", 3),
        # v1, whose controllers may share a line.
        (
            {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}
            | {"cpu/a/b/cpu.cfs_quota_us": "-1", "cpu/a/b/cpu.cfs_period_us": "100000"},
            "3:cpu,cpuacct:/a/b\n",
            3,
        ),
    ],
)
def test_the_least_quota_of_all_cgroups_around_counts(
    files: dict[str, str], where: str, cores: int, tmp_path: Path
) -> None:
    assert usable_cores(written(tmp_path / "fs", files), own(tmp_path, where)) == cores


@pytest.mark.parametrize(
    ("files", "where", "left"),
    [
        ({"a/pids.max": "max", "a/pids.current": "7"}, "0::/a\n", 0),
        ({"a/pids.max": "100", "a/pids.current": "7"}, "0::/a\n", 93),
        ({"a/pids.max": "5", "a/pids.current": "7"}, "0::/a\n", 1),
        # Nested: what is full counts, not what is small.
        (
            {"a/pids.max": "100", "a/pids.current": "90", "a/b/pids.max": "50", "a/b/pids.current": "9"},
            "0::/a/b\n",
            10,
        ),
        ({"pids/a/pids.max": "64", "pids/a/pids.current": "4"}, "8:pids:/a\n", 60),
        ({}, "0::/\n", 0),
    ],
)
def test_the_tasks_that_are_left_are_those_of_the_fullest_cgroup(
    files: dict[str, str], where: str, left: int, tmp_path: Path
) -> None:
    (tmp_path / "fs").mkdir()
    assert tasks_left(written(tmp_path / "fs", files), own(tmp_path, where)) == left


def test_the_functions_answer_on_this_machine() -> None:
    found = room()
    assert found.cores >= 1
    assert found.memory_bytes >= 64 << 20
    assert found.limited == bool(memory_limit())
    assert found.descriptors == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert memory_limit() >= 0
    assert oom_kills() >= 0


def test_the_local_zone_is_that_of_tz_or_of_the_system_with_its_summer_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summer, winter = datetime(2026, 7, 1), datetime(2026, 1, 1)
    monkeypatch.setenv("TZ", "America/New_York")
    zone = local_zone()
    assert [zone.utcoffset(day) for day in (summer, winter)] == [timedelta(hours=-4), timedelta(hours=-5)]
    monkeypatch.delenv("TZ")
    path = next(Path(folder) / "Europe/Berlin" for folder in zoneinfo.TZPATH if Path(folder).is_dir())
    zone = local_zone(path)
    assert [zone.utcoffset(day) for day in (summer, winter)] == [timedelta(hours=2), timedelta(hours=1)]
    assert local_zone(tmp_path / "none") is UTC
    monkeypatch.setenv("TZ", "Nowhere/At_all")
    assert local_zone(path) is UTC


@pytest.mark.parametrize(
    ("files", "where", "used"),
    [
        (
            {
                "memory.max": "1048576",
                "memory.current": "9000",
                "memory.stat": "anon 1\ninactive_file 1000\n",
            },
            "0::/\n",
            8000,
        ),
        ({"memory.max": "1048576", "memory.current": "9000"}, "0::/\n", 9000),
        ({"memory.max": "max", "memory.current": "9000"}, "0::/\n", 0),
        # What is used of the limit that binds, which is that of the cgroup around.
        (
            {
                "a/memory.max": "1048576",
                "a/memory.current": "9000",
                "a/b/memory.max": "max",
                "a/b/memory.current": "7",
            },
            "0::/a/b\n",
            9000,
        ),
        (
            {
                "memory/memory.limit_in_bytes": "4096",
                "memory/memory.usage_in_bytes": "3000",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 1000\n",
            },
            "4:memory:/\n",
            2000,
        ),
        ({}, "", 0),
    ],
)
def test_of_the_memory_limit_is_used_what_cannot_be_dropped(
    files: dict[str, str], where: str, used: int, tmp_path: Path
) -> None:
    assert memory_used(written(tmp_path / "fs", files), own(tmp_path, where)) == used


def test_the_free_share_of_a_disk_is_known_where_there_is_one(tmp_path: Path) -> None:
    share = free_ratio(str(tmp_path))
    assert share is not None
    assert 0 <= share <= 1
    assert free_ratio(str(tmp_path / "none")) is None
