"""What the host gives this process: cores, memory, threads and descriptors that it may use, and a name."""

from __future__ import annotations

import math
import os
import pathlib
import re
import resource
import socket
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, tzinfo

from fastproc.config.fit import Room

_CGROUP = pathlib.Path("/sys/fs/cgroup")
_OWN = pathlib.Path("/proc/self/cgroup")
_V1_LIMIT = "memory.limit_in_bytes"
_CPU = ("cpu.max", "cpu.cfs_quota_us")
_LOCAL_ZONE = pathlib.Path("/etc/localtime")


def room() -> Room:
    """Return what the host gives this process, as far as it can be seen."""
    limit = memory_limit()
    return Room(
        cores=usable_cores(),
        memory_bytes=limit or _physical_bytes(),
        limited=bool(limit),
        tasks=tasks_left(),
        descriptors=descriptor_limit(),
    )


def usable_cores(cgroup: pathlib.Path = _CGROUP, own: pathlib.Path = _OWN) -> int:
    """Return the cores that this process may use: affinity, and the least CPU quota of its cgroups, rounded up."""
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for folder, _ in _files(cgroup, own, "cpu", *_CPU) if (quota := _quota(folder))]
    return max(1, min(cores, math.ceil(min(quotas))) if quotas else cores)


def _quota(folder: pathlib.Path) -> float:
    """Cores by quota; 0.0 for no limit. Source: kernel docs, cgroup-v2 cpu.max; sched-bwc for v1."""
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text().split()
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return max(0.0, float(limit) / float(period)) if limit.strip() != "max" else 0.0
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def memory_limit(cgroup: pathlib.Path = _CGROUP, own: pathlib.Path = _OWN) -> int:
    """Return the bytes that this service may use: the least limit of its cgroup and those around it; 0 for none.

    Source: kernel docs, cgroup-v2 memory.max; memory.limit_in_bytes for v1, whose "no limit" is beyond any machine.
    """
    total = _physical_bytes()
    found = [
        _number(folder / name) for folder, name in _files(cgroup, own, "memory", "memory.max", _V1_LIMIT)
    ]
    return min((limit for limit in found if 0 < limit < total), default=0)


def memory_used(cgroup: pathlib.Path = _CGROUP, own: pathlib.Path = _OWN) -> int:
    """Return the bytes that are used of `memory_limit`, without files that can be dropped; 0 where there is no limit.

    Source: kernel docs, cgroup-v2 memory.current and inactive_file of memory.stat; memory.usage_in_bytes for v1. The
    kubelet's working set is the same difference.
    """
    limit = memory_limit(cgroup, own)
    for folder, name in _files(cgroup, own, "memory", "memory.max", _V1_LIMIT) if limit else ():
        if _number(folder / name) == limit:
            current = "memory.current" if name == "memory.max" else "memory.usage_in_bytes"
            return max(0, _number(folder / current) - _inactive_file_bytes(folder))
    return 0


def _inactive_file_bytes(folder: pathlib.Path) -> int:
    try:
        words = (folder / "memory.stat").read_text().split()
    except OSError:
        return 0
    # v1 has the line of the cgroup alone and one that counts those within it.
    name = "total_inactive_file" if "total_inactive_file" in words else "inactive_file"
    return int(words[words.index(name) + 1]) if name in words else 0


def free_ratio(folder: str) -> float | None:
    """Return which share of a folder's disk is free for this user; None where that cannot be seen."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail / disk.f_blocks if disk.f_blocks else None


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def tasks_left(cgroup: pathlib.Path = _CGROUP, own: pathlib.Path = _OWN) -> int:
    """Return how many processes and threads may still be started, by the fullest of its cgroups; 0 for no limit.

    At least 1 where there is a limit. Source: kernel docs, cgroup-v2 pids.max, pids.current; likewise in v1.
    """
    places = [folder for folder, _ in _files(cgroup, own, "pids", "pids.max", "pids.max")]
    limits = [(_number(folder / "pids.max"), _number(folder / "pids.current")) for folder in places]
    return min((max(1, limit - current) for limit, current in limits if limit), default=0)


def descriptor_limit() -> int:
    """Return how many descriptors this process may have open; 0 for no limit."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if soft == resource.RLIM_INFINITY else soft


def oom_kills(cgroup: pathlib.Path = _CGROUP, own: pathlib.Path = _OWN) -> int:
    """Return how many processes of this service's cgroup the kernel has killed for lack of memory.

    Source: kernel docs, cgroup-v2 memory.events `oom_kill`; the same line of memory.oom_control for v1.
    """
    return _oom_kills(cgroup, own) or 0


def sees_oom_kills(cgroup: pathlib.Path = _CGROUP, own: pathlib.Path = _OWN) -> bool:
    """Return whether that count can be read: a SIGKILL that does not raise it is not the kernel's."""
    return _oom_kills(cgroup, own) is not None


def _oom_kills(cgroup: pathlib.Path, own: pathlib.Path) -> int | None:
    for folder, name in _files(cgroup, own, "memory", "memory.events", "memory.oom_control"):
        try:
            words = (folder / name).read_text().split()
        except OSError:
            continue
        if "oom_kill" in words[:-1]:
            return int(words[words.index("oom_kill") + 1])
    return None


def _files(
    cgroup: pathlib.Path, own: pathlib.Path, controller: str, v2: str, v1: str
) -> Iterator[tuple[pathlib.Path, str]]:
    """Yield the places of a controller's file, from the process' own cgroup outwards: a limit binds all within it.

    In a container the named path is often the host's and not there: what is mounted is then the container's own.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    paths = {kinds: path.strip("/") for _, kinds, path in lines if ".." not in path}
    root, name, path = cgroup, v2, paths.get("", "")
    if (cgroup / controller).is_dir() and not any(
        (cgroup / file).exists() for file in (v2, "cgroup.controllers")
    ):
        root, name = cgroup / controller, v1
        path = next((path for kinds, path in paths.items() if controller in kinds.split(",")), "")
    here = root / path
    for folder in (here, *here.parents):
        if (folder / name).exists():
            yield folder, name
        if folder == root:
            return


def _number(path: pathlib.Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def local_zone(file: pathlib.Path = _LOCAL_ZONE) -> tzinfo:
    """Return the host's time zone with its summer time: the one that TZ names, else the system's, else UTC."""
    try:
        if name := os.environ.get("TZ"):
            return zoneinfo.ZoneInfo(name.removeprefix(":"))
        with file.open("rb") as data:
            return zoneinfo.ZoneInfo.from_file(data, key=str(file))
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError):
        return UTC


def host_name() -> str:
    """The host's name, in a container its id: printable and without spaces."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())


def service_name() -> str:
    """A name for this service among the queue's workers: host and pid."""
    return f"fastproc-{host_name()}-{os.getpid()}"
