"""What the host gives this process: the cores that it may use, and a name."""

from __future__ import annotations

import math
import os
import pathlib
import re
import socket

_CGROUP = pathlib.Path("/sys/fs/cgroup")


def usable_cores(cgroup: pathlib.Path = _CGROUP) -> int:
    """Return the cores that this process may use: affinity, and the CPU quota of its cgroup (v2 or v1), rounded up."""
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def _quota(cgroup: pathlib.Path) -> float:
    """Cores by quota; 0.0 for no limit. Source: kernel docs, cgroup-v2 cpu.max; sched-bwc for v1."""
    try:
        if (cgroup / "cpu.max").exists():
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:
            limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        return max(0.0, float(limit) / float(period)) if limit.strip() != "max" else 0.0
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def service_name() -> str:
    """A name for this service among the queue's workers: host and pid, printable and without spaces."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"fastproc-{socket.gethostname()}-{os.getpid()}")
