"""What the workers' processes use, and how short of resources the host is, read when the metrics are asked for.

Rule 1: labels are slots, not process ids, so that the number of series is that of the workers.
Rule 2: a worker that ends while it is looked at has no value in that moment; a kernel without pressure stall
        information has no such series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

#: Slot -> process id, of the workers that live now.
Pids = Callable[[], Mapping[int, int]]

_PRESSURE = Path("/proc/pressure")
RESOURCES = ("cpu", "memory", "io")


class Vitals(Collector):
    """RSS and CPU of each worker, and the host's pressure: the share of the last 10 s in which some process waited."""

    def __init__(self, pids: Pids, pressure: Path = _PRESSURE) -> None:
        self._pids, self._pressure = pids, pressure

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Read them all. Source of pressure: the kernel's accounting/psi, `some avg10`, in percent."""
        rss = GaugeMetricFamily(
            "fastproc_worker_process_rss_bytes", "Resident memory of a slot's process", labels=["slot"]
        )
        cpu = CounterMetricFamily(
            "fastproc_worker_process_cpu_seconds", "CPU time of a slot's process", labels=["slot"]
        )
        for slot, pid in sorted(self._pids().items()):
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    times = process.cpu_times()
                    rss.add_metric([str(slot)], process.memory_info().rss)
                    cpu.add_metric([str(slot)], times.user + times.system)
            except psutil.Error:
                continue
        yield rss
        yield cpu
        yield self._host_pressure()

    def _host_pressure(self) -> GaugeMetricFamily:
        found = GaugeMetricFamily(
            "fastproc_host_pressure_ratio",
            "Share of the last 10 s in which processes waited",
            labels=["resource"],
        )
        for resource in RESOURCES:
            try:
                some = (self._pressure / resource).read_text().split()
                average = next(field for field in some if field.startswith("avg10="))
            except (OSError, StopIteration):
                continue
            found.add_metric([resource], float(average.removeprefix("avg10=")) / 100)
        return found
