"""Series of several supervisors become those of one service."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from fastproc.ipc.link import Told
from fastproc.master import metrics
from fastproc.master.answers import Answers
from fastproc.master.metrics import Kept, merged, parsed
from fastproc.master.process import SupervisorProcess
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.vitals import Vitals
from tests.unit.test_docs import series

TABLES = (metrics.SUMS, metrics.GREATEST, metrics.TOGETHER, metrics.EACH)


def told(service: Metrics) -> list[metrics.Metric]:
    return list(parsed(service.text()))


def shown(families: list[metrics.Metric]) -> dict[str, float]:
    """The lines of the text: series -> value."""
    lines = metrics.text(families, CollectorRegistry()).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def gauges() -> set[str]:
    """The gauges of a service: what is neither a counter nor a histogram. And the counters of slots."""
    service = Metrics()
    service.registry.register(Vitals(dict))
    counted = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in service.registry.collect()
        if family.type in ("counter", "histogram")
    }
    of_slots = {f"{name}_total" for name in metrics.EACH}
    found = {name for name in series() if not name.endswith("_total") or name in of_slots} - (
        counted - of_slots
    )
    masters = {"fastproc_supervisors_alive"}
    return {name.removesuffix("_total") for name in found - masters}


def test_every_gauge_of_the_service_is_in_one_table_and_nothing_else_is() -> None:
    named = [name for table in TABLES for name in table]
    assert len(named) == len(set(named))
    assert set(named) == gauges()


def test_counters_and_histograms_add_up_label_by_label() -> None:
    first, second = Metrics(), Metrics()
    for service, seconds in ((first, 0.03), (second, 0.3), (second, 0.3)):
        service.taken()
        service.lost()
        service.webhook("failed", seconds)
    second.given_back()
    found = shown(merged({1: told(first), 2: told(second)}, (), Kept()))
    assert found["fastproc_jobs_taken_total"] == 3
    assert found['fastproc_jobs_total{outcome="lost"}'] == 3
    assert found['fastproc_jobs_total{outcome="given_back"}'] == 1
    assert found['fastproc_webhook_seconds_bucket{le="0.05"}'] == 1
    assert found['fastproc_webhook_seconds_bucket{le="+Inf"}'] == found["fastproc_webhook_seconds_count"] == 3


def test_gauges_add_up_or_the_greatest_counts_or_each_keeps_its_own() -> None:
    texts = {}
    for number, value in ((1, 2.0), (2, 5.0)):
        service = Metrics()
        for name in ("workers_alive", "loop_lag_seconds", "unheard_of", "backlog_seconds"):
            service.watch(name, "m", lambda value=value: value)
        service.watch_each_total("worker_restarts", "m", ("slot",), lambda value=value: [(("0",), value)])
        service.webhooks_waiting("a", int(value))
        texts[number] = told(service)
    found = shown(merged(texts, (), Kept()))
    assert found["fastproc_workers_alive"] == 7
    assert found["fastproc_loop_lag_seconds"] == 5
    assert found["fastproc_backlog_seconds"] == pytest.approx(1 / (1 / 2 + 1 / 5))
    assert found['fastproc_worker_restarts_total{slot="0",supervisor="1"}'] == 2
    assert found['fastproc_worker_restarts_total{slot="0",supervisor="2"}'] == 5
    assert found['fastproc_webhooks_waiting{endpoint="a"}'] == 5
    assert found['fastproc_unheard_of{supervisor="1"}'] == 2
    assert found['fastproc_supervisor_process_resident_memory_bytes{supervisor="2"}'] > 0
    assert found['fastproc_supervisor_process_cpu_seconds_total{supervisor="1"}'] > 0


def test_nothing_that_rises_falls_when_a_supervisor_ends_and_comes_back() -> None:
    kept, first, second = Kept(), Metrics(), Metrics()
    for service in (first, second):
        service.taken()
        service.lost()
        service.webhook("failed", 0.1)
        service.watch_total("worker_deaths", "m", lambda: 3)
        service.watch("workers_alive", "m", lambda: 1)
    before = shown(merged({1: told(first), 2: told(second)}, (), kept))
    kept.add(2, told(second))
    while_away = shown(merged({1: told(first)}, (), kept))
    empty = Metrics()
    back = shown(merged({1: told(first), 2: told(empty)}, (), kept))
    rising = [name for name in before if re.search(r"_total|_bucket|_count|_sum|deaths", name)]
    rising = [name for name in rising if "process_cpu" not in name]
    assert 'fastproc_jobs_total{outcome="lost"}' in rising
    assert {name: before[name] for name in rising} == {name: while_away[name] for name in rising}
    assert {name: before[name] for name in rising} == {name: back[name] for name in rising}
    assert while_away["fastproc_workers_alive"] == 1


def test_a_second_end_adds_to_the_first() -> None:
    kept, service = Kept(), Metrics()
    service.taken()
    kept.add(1, told(service))
    kept.add(1, told(service))
    assert shown(merged({1: told(service)}, (), kept))["fastproc_jobs_taken_total"] == 3


def test_of_one_that_does_not_answer_only_what_rises_is_shown() -> None:
    service = Metrics()
    service.taken()
    service.watch("workers_alive", "m", lambda: 1)
    found = shown(merged({1: told(service)}, (1,), Kept()))
    assert found["fastproc_jobs_taken_total"] == 1
    assert "fastproc_workers_alive" not in found


class Supervisor:
    """A process whose supervisor answers, or does not any more."""

    def __init__(self, *, answers: bool) -> None:
        self.told = Told(failing=False, health={}, conditions={}, problems={}, metrics=Metrics().text())
        self._answers = answers

    async def ask(self) -> Told | None:
        return self.told if self._answers else None


async def test_one_that_does_not_answer_is_not_alive_though_it_has_served() -> None:
    processes = {1: Supervisor(answers=False), 2: Supervisor(answers=False), 3: Supervisor(answers=True)}
    starting = 3
    living = cast("Callable[[], Mapping[int, SupervisorProcess]]", lambda: processes)
    text = (await Answers(3, living, lambda number: number != starting).metrics()).decode()
    assert "fastproc_supervisors_alive 0.0" in text
    text = (await Answers(3, living, lambda number: True).metrics()).decode()
    assert "fastproc_supervisors_alive 1.0" in text
    assert "_created" not in text


def test_one_supervisors_text_comes_out_as_it_went_in() -> None:
    service = Metrics()
    service.taken()
    service.webhook("failed", 0.1)
    apart = [line for line in service.text().decode().splitlines() if "_process_" not in line]
    text = metrics.text(merged({1: told(service)}, (), Kept()), CollectorRegistry()).decode()
    assert [line for line in text.splitlines() if "_process_" not in line] == apart
