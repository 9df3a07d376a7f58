"""Series: counted once, with bounded labels, in a registry of their own."""

from __future__ import annotations

from fastproc.core.errors import BY_CODE
from fastproc.core.model import Completed, Ended, GiveUp, Retry
from fastproc.supervisor.metrics import DELIVERIES, OUTCOMES, STEPS, Metrics
from tests.unit.supervisor.fakes import JOB, REPORT


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"fastproc_{name}", labels)


def test_an_attempts_end_is_counted_by_outcome_and_code() -> None:
    metrics = Metrics()
    metrics.ended(JOB, Completed("{}"), 0.3)
    metrics.ended(JOB, Ended(Retry(0), "STORAGE_UNAVAILABLE", "r", "s"), 0.3)
    metrics.ended(JOB, Ended(GiveUp("x"), "FILE_CORRUPTED", "r", "s"), 0.3)
    assert +metrics.tally.codes == {"FILE_CORRUPTED": 1}
    metrics.lost()
    metrics.given_back()
    outcomes = ("completed", "retried", "failed", "lost", "given_back")
    assert [value(metrics, "jobs_total", outcome=outcome) for outcome in outcomes] == [1.0] * 5
    assert value(metrics, "errors_total", code="FILE_CORRUPTED") == 1
    assert value(metrics, "errors_total", code="STORAGE_UNAVAILABLE") == 1
    assert value(metrics, "job_seconds_count") == 3
    assert value(metrics, "job_seconds_bucket", le="0.4") == 3
    assert value(metrics, "job_seconds_bucket", le="0.2") == 0


def test_a_processed_photo_is_counted_by_what_it_cost() -> None:
    metrics = Metrics()
    metrics.processed(1000, REPORT)
    metrics.processed(500, REPORT)
    assert value(metrics, "source_bytes_total") == 1500
    assert value(metrics, "rendition_bytes_total") == 20
    assert value(metrics, "worker_cpu_seconds_total") == 0.024
    assert value(metrics, "decodes_total") == 2
    assert value(metrics, "stage_seconds_count", stage="thumbnails") == 2
    assert value(metrics, "stage_seconds_sum", stage="thumbnails") == 0.005


def test_every_outcome_and_code_is_there_before_the_first_job() -> None:
    metrics = Metrics(("validation", "square"))
    assert [value(metrics, "jobs_total", outcome=outcome) for outcome in OUTCOMES] == [0.0] * 5
    assert [value(metrics, "errors_total", code=code) for code in BY_CODE] == [0.0] * len(BY_CODE)
    assert [value(metrics, "webhook_deliveries_total", outcome=outcome) for outcome in DELIVERIES] == [
        0.0,
        0.0,
    ]
    assert [value(metrics, "step_seconds_count", step=step) for step in STEPS] == [0.0] * 4
    assert value(metrics, "stage_seconds_count", stage="square") == 0
    # Of these no table tells, and `fastproc_jobs_created` would be read as a count of jobs.
    assert b"_created" not in metrics.text()


def test_a_wait_in_the_queue_and_each_request_of_a_job_are_observed() -> None:
    metrics = Metrics()
    metrics.waited(20.0)
    metrics.step("fetch")(0.02)
    metrics.step("fetch")(0.03)
    assert value(metrics, "queue_wait_seconds_bucket", le="10.0") == 0
    assert value(metrics, "queue_wait_seconds_bucket", le="30.0") == 1
    assert value(metrics, "step_seconds_sum", step="fetch") == 0.05
    assert value(metrics, "step_seconds_bucket", step="fetch", le="0.025") == 1


def test_a_watched_counter_is_one_and_what_nobody_knows_is_absent() -> None:
    metrics, known = Metrics(), [None]
    metrics.watch_total("worker_deaths", "m", lambda: 3)
    metrics.watch("backlog_seconds", "m", lambda: known[0])
    metrics.watch_each("queue_jobs", "m", ("state",), lambda: [(("waiting",), 4)])
    text = metrics.text().decode()
    assert "# TYPE fastproc_worker_deaths_total counter" in text
    assert "fastproc_worker_deaths_total 3.0" in text
    assert "\nfastproc_backlog_seconds " not in text
    assert 'fastproc_queue_jobs{state="waiting"} 4.0' in text


def test_taken_held_back_and_stalled_are_counted() -> None:
    metrics = Metrics()
    metrics.taken()
    metrics.held_back(1.5)
    metrics.stalled(4)
    assert value(metrics, "jobs_taken_total") == 1
    assert value(metrics, "rate_limit_held_seconds_total") == 1.5
    assert value(metrics, "stalled_jobs_total") == 4


def test_a_watched_series_is_read_when_it_is_asked_for() -> None:
    metrics, found = Metrics(), [3]
    metrics.watch("workers_busy", "busy", lambda: found[0])
    found[0] = 5
    assert value(metrics, "workers_busy") == 5
    assert b"fastproc_workers_busy 5.0" in metrics.text()


def test_two_services_in_one_process_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.taken()
    assert value(other, "jobs_taken_total") == 0


def test_the_supervisors_own_cpu_and_memory_are_there() -> None:
    text = Metrics().text().decode()
    assert "fastproc_supervisor_process_cpu_seconds_total" in text
    assert "fastproc_supervisor_process_resident_memory_bytes" in text
