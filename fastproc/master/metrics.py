"""Merges the series of several supervisors into those of one service.

Rule 1: counters and histograms add up, and what supervisors that have ended had counted stays in the sum: a counter
        never falls.
Rule 2: gauges add up by name alone (SUMS); where a sum says nothing, the greatest counts (GREATEST: what all see of the
        same thing, and delays), the seconds are those of all side by side (TOGETHER: `core.pace`), or each keeps its
        own series with a label `supervisor` (EACH, counters of slots too, and whatever no rule names: a series too many
        misleads nobody). A test compares the tables with the series of the service.
Rule 3: of a supervisor that does not answer, what rises is as it was last told, and the rest is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from fastproc.core.pace import together

# As in the supervisors (`supervisor.metrics`).
disable_created_metrics()  # type: ignore[no-untyped-call]

SUMS: Final = {
    "fastproc_jobs_in_hand",
    "fastproc_jobs_in_hand_max",
    "fastproc_inflight_bytes",
    "fastproc_workers_configured",
    "fastproc_workers_alive",
    "fastproc_workers_busy",
    "fastproc_broken_schedulers",
    "fastproc_supervisors_ready",
    "fastproc_breaker_state",
    "fastproc_rate_limit_per_second",
    "fastproc_rate_limit_tokens",
    "fastproc_rate_limit_waiting",
}
GREATEST: Final = {
    "fastproc_host_pressure_ratio",
    "fastproc_loop_lag_seconds",
    "fastproc_webhooks_waiting",
    "fastproc_queue_jobs",
    "fastproc_queue_oldest_job_seconds",
    "fastproc_queue_paused",
    "fastproc_supervisors_configured",
    "fastproc_build_info",
    "fastproc_decoder_info",
    "fastproc_decoder_holes",
    "fastproc_memory_limit_bytes",
    "fastproc_memory_used_bytes",
    "fastproc_database_disk_free_ratio",
}
TOGETHER: Final = {"fastproc_backlog_seconds"}
EACH: Final = {
    "fastproc_worker_process_rss_bytes",
    "fastproc_worker_process_cpu_seconds",
    "fastproc_worker_task_age_seconds",
    "fastproc_worker_restarts",
}
#: Each supervisor's own process: that one of them is at its end is what must be seen.
EACH_PREFIX: Final = "fastproc_supervisor_process_"

#: One sample of a family: its name, and its labels in order.
Key = tuple[str, tuple[tuple[str, str], ...]]
Values = dict[Key, float]


def parsed(text: bytes) -> Sequence[Metric]:
    """Return the families of a supervisor's text."""
    return list(text_string_to_metric_families(text.decode()))


def rises(family: Metric) -> bool:
    """Whether its values never fall while a process lives."""
    return family.type in ("counter", "histogram")


def keeps_apart(family: Metric) -> bool:
    """Whether each supervisor has series of its own."""
    if rises(family):
        return family.name in EACH or family.name.startswith(EACH_PREFIX)
    return family.name not in SUMS | GREATEST | TOGETHER


class Kept:
    """What supervisors that have ended had counted, by supervisor and family."""

    def __init__(self) -> None:
        self._counted: dict[int, dict[str, tuple[Metric, Values]]] = {}

    @property
    def numbers(self) -> Iterable[int]:
        """Of which supervisors something is kept."""
        return self._counted

    def add(self, number: int, families: Iterable[Metric]) -> None:
        """Its process has ended with these."""
        counted = self._counted.setdefault(number, {})
        for family in filter(rises, families):
            _, values = counted.setdefault(family.name, (family, {}))
            for key, value in _samples(family):
                values[key] = values.get(key, 0.0) + value

    def families(self, number: int) -> Iterable[Metric]:
        """Return the families of which something is kept."""
        return [family for family, _ in self._counted.get(number, {}).values()]

    def values(self, number: int, name: str) -> Mapping[Key, float]:
        """Return what is kept of a family, by sample."""
        _, values = self._counted.get(number, {}).get(name, (None, {}))
        return values


def merged(told: Mapping[int, Sequence[Metric]], silent: Iterable[int], kept: Kept) -> list[Metric]:
    """Return the service's families. `told`: the last ones by supervisor; of the `silent`, only what rises counts."""
    quiet, sums = set(silent), dict[str, tuple[Metric, Values]]()
    for number in sorted({*told, *kept.numbers}):
        now = {family.name: family for family in told.get(number, ()) if number not in quiet or rises(family)}
        before = {family.name: family for family in kept.families(number)}
        for name, family in (before | now).items():
            _, values = sums.setdefault(name, (family, {}))
            own = dict(_samples(family)) if name in now else {}
            past = kept.values(number, name)
            for key in {**own, **past}:
                where = _labelled(key, number) if keeps_apart(family) else key
                _put(values, where, own.get(key, 0.0) + past.get(key, 0.0), family)
    return [_family(family, values) for family, values in sums.values()]


def text(families: Sequence[Metric], own: CollectorRegistry) -> bytes:
    """Return them in Prometheus' text format, with the master's own series."""
    return generate_latest(_Several(families)) + generate_latest(own)


class _Several(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _samples(family: Metric) -> Iterator[tuple[Key, float]]:
    for sample in family.samples:
        yield (sample.name, tuple(sample.labels.items())), sample.value


def _put(values: Values, key: Key, value: float, family: Metric) -> None:
    if key not in values:
        values[key] = value
    elif family.name in GREATEST:
        values[key] = max(values[key], value)
    elif family.name in TOGETHER:
        values[key] = together((values[key], value))
    else:
        values[key] += value


def _labelled(key: Key, number: int) -> Key:
    return key[0], (*key[1], ("supervisor", str(number)))


def _family(family: Metric, values: Values) -> Metric:
    found = Metric(family.name, family.documentation, family.type)
    for (name, labels), value in values.items():
        found.add_sample(name, dict(labels), value)
    return found
