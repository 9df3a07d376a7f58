"""Limits of real cgroups, one within the other, as a process in the inner one sees them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fastproc.config.fit import Room, misfits
from fastproc.config.pool import PoolConfig

ROOT = Path("/sys/fs/cgroup")
OUTER, INNER = f"fastproc-outer-{os.getpid()}", "inner"
#: controller -> files of v2 and of v1 with what is written, for the outer and the inner cgroup.
LIMITS = {
    "memory": (
        ({"memory.max": "805306368"}, {"memory.max": "1610612736"}),
        ({"memory.limit_in_bytes": "805306368"}, {"memory.limit_in_bytes": "805306368"}),
    ),
    "cpu": (
        ({"cpu.max": "150000 100000"}, {"cpu.max": "max 100000"}),
        ({"cpu.cfs_quota_us": "150000"}, {"cpu.cfs_quota_us": "-1"}),
    ),
    "pids": (({"pids.max": "40"}, {"pids.max": "max"}), ({"pids.max": "40"}, {"pids.max": "max"})),
}


@pytest.fixture
def inner() -> Iterator[list[Path]]:
    """Two nested cgroups, the outer one with the limits; yield the inner one in each hierarchy."""
    is_v1 = (ROOT / "memory").is_dir()
    made: list[Path] = []
    with contextlib.ExitStack() as undo:
        try:
            for controller, both in LIMITS.items():
                folder = ROOT / controller if is_v1 else ROOT
                for name, limits in zip((OUTER, INNER), both[is_v1], strict=True):
                    if not is_v1:
                        (folder / "cgroup.subtree_control").write_text(f"+{controller}")
                    folder /= name
                    if not folder.exists():
                        folder.mkdir()
                        undo.callback(folder.rmdir)
                    for file, text in limits.items():
                        (folder / file).write_text(text)
                made.append(folder)
        except OSError as error:
            pytest.skip(f"needs root and cgroups that can be made: {error}")
        yield made


def test_limits_of_an_outer_cgroup_bind_what_is_in_the_inner_one(inner: list[Path]) -> None:
    program = (
        "import msgspec, os\n"
        f"for folder in {[str(folder) for folder in dict.fromkeys(inner)]!r}:\n"
        "    open(folder + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "from fastproc.config.host import room\n"
        "os.write(1, msgspec.json.encode(room()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=60)
    found = msgspec.json.decode(done.stdout, type=Room)
    assert found.limited
    assert found.memory_bytes == 768 << 20
    assert found.cores == min(2, len(os.sched_getaffinity(0)))
    assert 30 <= found.tasks <= 39
    words = " ".join(misfits(PoolConfig(workers=8), found))
    for part in ("share 2 cores", "the memory limit is 768 MiB", "the cgroup's pids.max leaves"):
        assert part in words
