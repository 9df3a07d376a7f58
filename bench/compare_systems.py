"""The systems of bench/compare.py: how each is started, stopped and measured from outside, all in the same way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from msgspec import Struct

from fastproc.embedded.child import dies_with_us

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "bench" / "peers"
#: What the peers make too; by default fastproc makes placeholders and hashes as well.
FOUR_STAGES = "validation,metadata,thumbnails,optimization"
#: Between two looks at the memory of a running system: a look at 1 GB of mapped pages takes milliseconds of a core.
LOOK_S = 0.5
STOP_S = 30.0


class System(Struct, frozen=True):
    """A worker of the queue: its command, and variables beside those that lead to the servers."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: dict[str, str] = {}


def systems(cores: int) -> dict[str, System]:
    """Return all systems by name, fastproc first. `cores`: those that the expert tunes for."""
    ours = (sys.executable, "-m", "fastproc", "run")
    quiet = {"LOG_LEVEL": "warn"}
    # Each picture takes a thread of libuv's pool; two are left for files and names. Few arenas: what sharp's
    # documentation advises where jemalloc is not at hand.
    tuned = {"UV_THREADPOOL_SIZE": str(cores + 2), "MALLOC_ARENA_MAX": "2", "NODE_ENV": "production"}
    found = (
        System("fastproc", "fastproc", ours, quiet),
        System("fastproc-four", "fastproc, the peers' four stages", ours, quiet | {"PIPELINE": FOUR_STAGES}),
        System("reference", "(a) Node, the reference design", ("node", str(PEERS / "reference.js"))),
        System("expert", "(b) Node, by an expert", ("node", str(PEERS / "expert.js")), tuned),
        System(
            "python", "(c) Python: bullmq, boto3, pyvips", (sys.executable, str(PEERS / "worker_pyvips.py"))
        ),
    )
    return {system.name: system for system in found}


def install() -> str:
    """Install the Node packages where they are missing; return why that is not possible, or an empty text."""
    node = Path(sys.executable).parents[1] / "node"
    os.environ["PATH"] = f"{node}{os.pathsep}{os.environ['PATH']}"
    wanted = json.loads((PEERS / "package.json").read_text())["dependencies"]
    if shutil.which("node") and all((PEERS / "node_modules" / name).is_dir() for name in wanted):
        return ""
    done = subprocess.run(
        [str(ROOT / "scripts" / "node")],
        env=os.environ | {"VENV": os.path.relpath(node.parent, ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    first = (done.stderr.strip().splitlines() or ["no message"])[0]
    return f"the Node peers need Node 20 and their npm packages, and scripts/node could not get them: {first}"


class Meter:
    """CPU and memory of a process and of all that it started."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._peak, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def cpu_s(self) -> float:
        """User and system seconds so far, those of children that have ended included."""
        return sum(cpu_s(process) for process in self._tree())

    def peak_pss_bytes(self) -> int:
        """Return the largest sum of proportional set sizes that was seen. Ends the watch."""
        self._stop.set()
        self._thread.join()
        return self._peak

    def _tree(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            with contextlib.suppress(psutil.NoSuchProcess):
                self._peak = max(self._peak, sum(pss_bytes(process.pid) for process in self._tree()))


def cpu_s(process: psutil.Process) -> float:
    """User and system seconds of a process and its children that have ended; 0 where it is gone."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages count in shares. 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


@contextlib.contextmanager
def running(system: System, variables: Mapping[str, str], log: Path) -> Iterator[psutil.Process]:
    """Run the system while the block runs; then end it by SIGTERM. What it says goes to `log`."""
    environment = {**os.environ, **variables, **system.environment}
    command = [shutil.which(system.command[0]) or system.command[0], *system.command[1:]]
    with log.open("wb") as said:
        process = subprocess.Popen(dies_with_us(command), env=environment, stdout=said, stderr=said)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
