"""What a load test found, as one value: what was measured where, and the figures of each run. Its JSON is the schema.

Rule 1: docs/operations.md documents the fields. One that is added needs no new `schema`; one that is renamed, removed
        or changes its meaning does.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Literal

from msgspec import Struct

from fastproc.config.host import usable_cores
from fastproc.load.arrivals import Load
from fastproc.load.figures import Figures

#: What a series of runs differs in.
Varied = Literal["", "concurrency", "outstanding", "rate"]


class CpuPerJob(Struct, frozen=True, kw_only=True):
    """Milliseconds of CPU a job that ended: of all processes of the services, and by kind."""

    all: float
    supervisor: float
    workers: float


class Run(Struct, frozen=True, kw_only=True):
    """One run. What was not measured is None: `cpu_ms_per_job` without access to the services, for example.

    `workers` is how many BullMQ lists: one a service. `concurrency` is WORKER_CONCURRENCY of each.
    """

    load: Load
    value: float
    hosts: int
    workers: int
    concurrency: int | None
    figures: Figures
    photos_per_s_per_core: float | None = None
    cpu_ms_per_job: CpuPerJob | None = None
    pss_bytes: int | None = None
    load_generator_cpu_ms_per_job: float = 0.0


class Machine(Struct, frozen=True, kw_only=True):
    """The machine that the command ran on."""

    cpu: str
    cores: int
    usable_cores: int
    memory_bytes: int
    kernel: str
    python: str

    @property
    def words(self) -> str:
        """The machine in a line."""
        return f"{self.usable_cores} of {self.cores} cores, {self.cpu}, {self.memory_bytes / 1e9:.0f} GB, {self.kernel}"


class Report(Struct, frozen=True, kw_only=True):
    """All of a load test."""

    command: str
    at: str
    target: Literal["embedded", "running"]
    environment: dict[str, str]
    machine: Machine
    versions: dict[str, str]
    settings: dict[str, str]
    photos: dict[str, int]
    seed: int
    varied: Varied
    runs: list[Run]
    notes: list[str]
    schema: int = 1


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """Return what this machine is."""
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    # ARM's kernel names no model.
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return Machine(
        cpu=model or platform.machine(),
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )
