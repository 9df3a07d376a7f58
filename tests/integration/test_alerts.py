"""Every alert by promtool: it fires where it shall, not before its time, and not where it nearly would.

A case is series, minute by minute, in promtool's notation: `2x9` is a 2 and nine more, `0+6x9` counts up by 6.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import Struct

from tests import prometheus

HERE = 'job="fastproc",instance="a"'
QUEUE = f'{HERE},queue="bull:photos"'
HOUR = 60
#: What fires has it: operators route by it, and one alert silences another of the same job.
OF_JOB = ',job="fastproc"'


class Case(Struct, frozen=True):
    """An alert; series with which it fires at minute `at`, but not at `before`, and with which it does not at all."""

    alert: str
    fires: dict[str, str]
    quiet: dict[str, str]
    before: int
    at: int
    count: int = 1


def state(neighbour: str, state: str) -> str:
    return f'fastproc_breaker_state{{{HERE},neighbour="{neighbour}",state="{state}"}}'


def jobs(outcome: str) -> str:
    return f'fastproc_jobs_total{{{HERE},outcome="{outcome}"}}'


def errors(code: str) -> str:
    return f'fastproc_errors_total{{{HERE},code="{code}"}}'


def queue(state: str) -> str:
    return f'fastproc_queue_jobs{{{QUEUE},state="{state}"}}'


def on_b(series: str) -> str:
    """The same series of another service."""
    return series.replace('"a"', '"b"')


def one(name: str) -> str:
    return f"fastproc_{name}{{{HERE}}}"


PAUSED, BACKLOG = f"fastproc_queue_paused{{{QUEUE}}}", f"fastproc_backlog_seconds{{{QUEUE}}}"
OLDEST = f"fastproc_queue_oldest_job_seconds{{{QUEUE}}}"
WAITING = f'fastproc_webhooks_waiting{{{HERE},endpoint="https://e"}}'
UP = 'up{job="fastproc",instance="a"}'

CASES = (
    Case("FastprocDown", {UP: "0x20"}, {UP: "0x20", 'up{job="fastproc",instance="b"}': "1x20"}, 1, 3),
    Case("FastprocInstanceDown", {UP: "0x20"}, {UP: "1x3 0x2 1x15"}, 4, 6),
    Case("FastprocNotReady", {one("supervisors_ready"): "0x9"}, {one("supervisors_ready"): "0x1 1x8"}, 1, 3),
    Case("FastprocNotReady", {one("supervisors_alive"): "0x9"}, {one("supervisors_alive"): "1x9"}, 1, 3),
    Case(
        "FastprocSupervisorMissing",
        {one("supervisors_ready"): "1x20", one("supervisors_configured"): "2x20"},
        {one("supervisors_ready"): "2x20", one("supervisors_configured"): "2x20"},
        9,
        11,
    ),
    Case(
        "FastprocSupervisorsRestart",
        {one("supervisors_restarted_total"): "0+1x9"},
        {one("supervisors_restarted_total"): "5x3 7x6"},
        0,
        9,
    ),
    # Late at every look; a single late look, even by seconds, is the watchdog's.
    Case(
        "FastprocLoopLags",
        {one("loop_lag_seconds"): "0.3x20"},
        {one("loop_lag_seconds"): "0 0.3 5 0.3 0 0x15"},
        4,
        12,
    ),
    Case(
        "FastprocSupervisorBusy",
        {one("supervisor_process_cpu_seconds_total"): "0+58x30"},
        {one("supervisor_process_cpu_seconds_total"): "0+48x30"},
        10,
        20,
    ),
    Case(
        "FastprocWatchdogFinds",
        {one("watchdog_finds_total"): "0x2 1x9"},
        {one("watchdog_finds_total"): "7x12"},
        2,
        5,
    ),
    Case(
        "FastprocDescriptorsNearLimit",
        {one("supervisor_process_open_fds"): "900x9", one("supervisor_process_max_fds"): "1024x9"},
        {one("supervisor_process_open_fds"): "500x9", one("supervisor_process_max_fds"): "1024x9"},
        4,
        6,
    ),
    # Two services that need 900 s alone need 450 s together, and 200 s with three more.
    Case(
        "FastprocBacklogGrows",
        {BACKLOG: "900x30", BACKLOG.replace('"a"', '"b"'): "900x30", queue("waiting"): "1000+10x30"},
        {BACKLOG: "400x30", BACKLOG.replace('"a"', '"b"'): "400x30", queue("waiting"): "1000+10x30"},
        9,
        20,
    ),
    Case(
        "FastprocBacklogGrows",
        {BACKLOG: "900x30", queue("prioritized"): "9+1x30"},
        {BACKLOG: "900x30", queue("waiting"): "1000-10x30"},
        9,
        20,
    ),
    # Many at once, which are being worked off.
    Case(
        "FastprocBacklogGrows",
        {BACKLOG: "900x30", queue("waiting"): "0x5 3000+1x24"},
        {BACKLOG: "0x5 1800-30x24", queue("waiting"): "0x5 3000-50x24"},
        9,
        20,
    ),
    Case(
        "FastprocNothingEnds",
        {queue("waiting"): "5x30", PAUSED: "0x30", jobs("completed"): "9x30", jobs("given_back"): "0+9x30"},
        {queue("waiting"): "5x30", PAUSED: "0x30", jobs("completed"): "0+1x30"},
        4,
        8,
    ),
    Case(
        "FastprocNothingEnds",
        {queue("prioritized"): "5x30", jobs("completed"): "9x30"},
        {queue("waiting"): "5x30", PAUSED: "1x30", jobs("completed"): "9x30"},
        4,
        8,
    ),
    # That another service ends jobs of another queue does not matter; of this one, it does.
    Case(
        "FastprocNothingEnds",
        {
            queue("waiting"): "5x30",
            PAUSED: "0x30",
            jobs("completed"): "9x30",
            on_b(PAUSED).replace("photos", "others"): "0x30",
            on_b(jobs("completed")): "0+9x30",
        },
        {
            queue("waiting"): "5x30",
            PAUSED: "0x30",
            jobs("completed"): "9x30",
            on_b(PAUSED): "0x30",
            on_b(jobs("completed")): "0+9x30",
        },
        4,
        8,
    ),
    Case("FastprocOldestJobTooOld", {OLDEST: "901x20"}, {OLDEST: "901x20", PAUSED: "1x20"}, 4, 6),
    Case(
        "FastprocPausedForLong",
        {PAUSED: "1x90", queue("waiting"): "1x90"},
        {PAUSED: "1x90", queue("waiting"): "0x90"},
        59,
        61,
    ),
    Case(
        "FastprocRateLimitHolds",
        {one("rate_limit_held_seconds_total"): "0+40x60", queue("waiting"): "5x60"},
        {one("rate_limit_held_seconds_total"): "0+40x60", queue("waiting"): "0x60"},
        30,
        45,
    ),
    Case(
        "FastprocJobsGivenBack",
        {jobs("given_back"): "0+12x60", jobs("completed"): "0+12x60"},
        {jobs("given_back"): "0+12x60", jobs("completed"): "0+60x60"},
        14,
        25,
    ),
    Case("FastprocJobsLost", {jobs("lost"): "0x2 1x9"}, {jobs("lost"): "4x12"}, 2, 5),
    Case(
        "FastprocJobsStalled",
        {one("stalled_jobs_total"): "0x2 3x9"},
        {one("stalled_jobs_total"): "3x12"},
        2,
        5,
    ),
    Case(
        "FastprocSchedulerBroken", {one("broken_schedulers"): "1x9"}, {one("broken_schedulers"): "0x9"}, 4, 6
    ),
    # 6 of 100 a minute are 6 %; 1 of 100 is one.
    Case(
        "FastprocFailures",
        {errors("WORKER_CRASHED"): "0+6x30", jobs("completed"): "0+94x30", jobs("retried"): "0+6x30"},
        {errors("WORKER_CRASHED"): "0+1x30", jobs("completed"): "0+99x30"},
        2,
        20,
    ),
    Case(
        "FastprocFailures",
        {errors("DATABASE_UNAVAILABLE"): "0+1x30", jobs("failed"): "0+1x30"},
        {errors("FILE_CORRUPTED"): "0+6x30", jobs("failed"): "0+6x30"},
        2,
        20,
    ),
    Case(
        "FastprocFailures",
        {errors("PROCESSING_ERROR"): "0+1x30", jobs("failed"): "0+1x30"},
        {errors("WORKER_TIMEOUT"): "7x9 12x20", jobs("failed"): "7x9 12x20"},
        2,
        20,
    ),
    Case(
        "FastprocRefusals",
        {errors("FILE_CORRUPTED"): "0+30x60", jobs("completed"): "0+70x60", jobs("failed"): "0+30x60"},
        {errors("FILE_CORRUPTED"): "0+10x60", jobs("completed"): "0+90x60", jobs("failed"): "0+10x60"},
        14,
        30,
    ),
    Case(
        "FastprocWorkersDie",
        {one("worker_deaths_total"): "0+1x15"},
        {one("worker_deaths_total"): "7x3 11x12"},
        2,
        10,
    ),
    Case(
        "FastprocWorkersMissing",
        {one("workers_alive"): "1x20", one("workers_configured"): "4x20"},
        {one("workers_alive"): "2x20", one("workers_configured"): "4x20"},
        9,
        11,
    ),
    Case(
        "FastprocTaskTooOld",
        {f'fastproc_worker_task_age_seconds{{{HERE},slot="0"}}': "0+60x9"},
        {f'fastproc_worker_task_age_seconds{{{HERE},slot="0"}}': "0 60 120 0x9"},
        3,
        5,
    ),
    Case(
        "FastprocQuarantineGrows",
        {one("quarantined_total"): "0+1x20"},
        {one("quarantined_total"): "5x3 7x17"},
        1,
        10,
    ),
    Case(
        "FastprocRowsMissing",
        {one("rows_missing_total"): "0x2 1x9"},
        {one("rows_missing_total"): "5x12"},
        2,
        5,
    ),
    Case(
        "FastprocEventsDropped",
        {one("events_dropped_total"): "0x2 1x19"},
        {one("events_dropped_total"): "5x22"},
        6,
        10,
    ),
    *(
        Case(
            "FastprocNeighbourAway",
            {state(name, "open"): "1 0 1 0 1 0", state(name, "trial"): "0 1 0 1 0 1"},
            {state(name, "open"): "0 1 0 0 0 0", state(name, "trial"): "0x5"},
            1,
            3,
        )
        for name in ("redis", "storage_reads", "storage_writes", "database", "kernel")
    ),
    Case("FastprocNeighbourAway", {state("redis", "open"): "1x9"}, {state("webhooks", "open"): "1x9"}, 1, 3),
    Case(
        "FastprocWebhooksFail", {state("webhooks", "open"): "2x20"}, {state("redis", "open"): "1x20"}, 14, 16
    ),
    Case("FastprocWebhooksWait", {WAITING: "200+9x60"}, {WAITING: "900-9x60"}, 14, 30),
    Case(
        "FastprocWebhooksLost",
        {one("webhooks_lost_total"): "0x2 1x9"},
        {one("webhooks_lost_total"): "5x12"},
        2,
        5,
    ),
    Case(
        "FastprocKernelKills",
        {one("kernel_kills_total"): "0x2 1x9"},
        {one("kernel_kills_total"): "5x12"},
        2,
        5,
    ),
    Case(
        "FastprocMemoryNearLimit",
        {one("memory_used_bytes"): "970x9", one("memory_limit_bytes"): "1000x9"},
        {one("memory_used_bytes"): "900x9", one("memory_limit_bytes"): "1000x9"},
        4,
        6,
    ),
    Case(
        "FastprocDiskNearlyFull",
        {one("database_disk_free_ratio"): "0.05x9"},
        {one("database_disk_free_ratio"): "0.2x9"},
        4,
        6,
    ),
    Case(
        "FastprocDecoderHoles",
        {f'fastproc_decoder_holes{{{HERE},library="libheif (HEIC)"}}': "7x90"},
        {f'fastproc_decoder_holes{{{HERE},library="libheif (HEIC)"}}': "0x90"},
        59,
        61,
    ),
    # What lies just below a threshold.
    Case(
        "FastprocSupervisorMissing",
        {one("supervisors_ready"): "1x20", one("supervisors_configured"): "4x20"},
        {one("supervisors_ready"): "0x20", one("supervisors_configured"): "4x20"},
        9,
        11,
    ),
    Case(
        "FastprocLoopLags", {one("loop_lag_seconds"): "0.25x20"}, {one("loop_lag_seconds"): "0.1x20"}, 4, 12
    ),
    Case("FastprocOldestJobTooOld", {OLDEST: "0+300x20"}, {OLDEST: "600x20"}, 7, 12),
    Case(
        "FastprocRateLimitHolds",
        {one("rate_limit_held_seconds_total"): "0+50x60", queue("prioritized"): "5x60"},
        {one("rate_limit_held_seconds_total"): "0+20x60", queue("waiting"): "5x60"},
        30,
        45,
    ),
    Case(
        "FastprocJobsGivenBack",
        {jobs("given_back"): "0+6x60", jobs("completed"): "0x60"},
        {jobs("given_back"): "0+2x60", jobs("completed"): "0x60"},
        14,
        25,
    ),
    Case(
        "FastprocRefusals",
        {errors("MIME_MISMATCH"): "0+2x60", jobs("failed"): "0+2x60"},
        {errors("MIME_MISMATCH"): "0+1x60", jobs("failed"): "0+1x60"},
        14,
        30,
    ),
    Case(
        "FastprocRefusals",
        {errors("OBJECT_NOT_FOUND"): "0+9x60", jobs("failed"): "0+9x60"},
        {errors("CANCELLED"): "0+9x60", jobs("failed"): "0+9x60"},
        14,
        30,
    ),
    Case("FastprocWebhooksWait", {WAITING: "101+1x60"}, {WAITING: "20+1x60"}, 14, 30),
)

#: A service that has nothing to do, for two hours.
IDLE = {
    UP: "1x120",
    one("supervisors_ready"): "1x120",
    one("supervisors_configured"): "1x120",
    one("loop_lag_seconds"): "0.001x120",
    one("supervisor_process_cpu_seconds_total"): "3+0.3x120",
    one("supervisor_process_open_fds"): "48x120",
    one("supervisor_process_max_fds"): "1024x120",
    queue("waiting"): "0x120",
    queue("prioritized"): "0x120",
    queue("completed"): "1000x120",
    queue("failed"): "20x120",
    PAUSED: "0x120",
    BACKLOG: "0x120",
    OLDEST: "0x120",
    one("workers_alive"): "2x120",
    one("workers_configured"): "2x120",
    f'fastproc_worker_task_age_seconds{{{HERE},slot="0"}}': "0x120",
    WAITING: "0x120",
    one("memory_used_bytes"): "200x120",
    one("memory_limit_bytes"): "1000x120",
    one("database_disk_free_ratio"): "0.5x120",
    f'fastproc_decoder_holes{{{HERE},library="libvips"}}': "0x120",
    one("broken_schedulers"): "0x120",
    **{
        one(f"{name}_total"): "9x120"
        for name in ("stalled_jobs", "watchdog_finds", "worker_deaths", "kernel_kills")
    },
    **{
        one(f"{name}_total"): "9x120"
        for name in ("quarantined", "rows_missing", "events_dropped", "webhooks_lost")
    },
    one("rate_limit_held_seconds_total"): "50x120",
    **{jobs(outcome): "100x120" for outcome in ("completed", "retried", "failed", "lost", "given_back")},
    **{errors(code): "20x120" for code in ("WORKER_CRASHED", "FILE_CORRUPTED", "STORAGE_UNAVAILABLE")},
    **{
        state(name, each): f"{int(each == 'closed')}x120"
        for name in ("redis", "storage_reads", "storage_writes", "database", "kernel", "webhooks")
        for each in ("closed", "trial", "open")
    },
}


def group(series: dict[str, str], *looks: tuple[int, str, int]) -> dict[str, Any]:
    """A group of promtool's: at each look (minute, alert, or "" for any) so many alerts fire."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertstate="firing",alertname=~"{alert or ".+"}"{OF_JOB if count else ""}}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": count}] if count else [],
            }
            for minute, alert, count in looks
        ],
    }


def judged(folder: Path, *groups: dict[str, Any]) -> str:
    """What promtool says of the groups."""
    (folder / "cases.yaml").write_text(
        yaml.safe_dump(
            {"rule_files": [str(prometheus.RULES)], "evaluation_interval": "1m", "tests": list(groups)}
        )
    )
    return prometheus.promtool("test", "rules", str(folder / "cases.yaml"))


def test_the_rules_and_the_configuration_are_valid() -> None:
    assert "SUCCESS" in prometheus.promtool(
        "check", "rules", "--lint=all", "--lint-fatal", str(prometheus.RULES)
    )
    assert "SUCCESS" in prometheus.promtool("check", "config", str(prometheus.CONFIG))


def test_every_alert_fires_in_time_and_only_where_it_shall(tmp_path: Path) -> None:
    fires = [
        group(each.fires, (each.before, each.alert, 0), (each.at, each.alert, each.count)) for each in CASES
    ]
    quiet = [group(each.quiet, *((minute, each.alert, 0) for minute in range(each.at + 1))) for each in CASES]
    judged(tmp_path, *fires, *quiet)


def test_no_alert_has_no_case() -> None:
    assert {case.alert for case in CASES} == set(prometheus.rules("alert"))


def test_an_idle_healthy_service_fires_nothing(tmp_path: Path) -> None:
    asked = set().union(
        *(prometheus.SERIES.findall(rule["expr"]) for rule in prometheus.rules("alert").values())
    )
    of_a_master = {"fastproc_supervisors_alive", "fastproc_supervisors_restarted_total"}
    assert asked - {name.partition("{")[0] for name in IDLE} == of_a_master
    judged(tmp_path, group(IDLE, *((minute, "", 0) for minute in range(0, 2 * HOUR, 7))))


def test_a_case_that_is_wrong_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="FAILED"):
        judged(tmp_path, group({UP: "1x9"}, (5, "FastprocDown", 1)))


def test_services_side_by_side_make_one_backlog(tmp_path: Path) -> None:
    together = group({BACKLOG: "30x5", BACKLOG.replace('"a"', '"b"'): "60x5"})
    idle = group({BACKLOG: "0x5", BACKLOG.replace('"a"', '"b"'): "0x5"})
    for found, value in ((together, 20), (idle, 0)):
        sample = {"labels": 'fastproc:backlog_seconds{job="fastproc",queue="bull:photos"}', "value": value}
        found["promql_expr_test"] = [
            {"expr": "fastproc:backlog_seconds", "eval_time": "3m", "exp_samples": [sample]}
        ]
    judged(tmp_path, together, idle)
