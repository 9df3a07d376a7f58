"""What else is decided without servers: names, refusals, metrics, and which options go together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec import structs

from fastproc.bullmq.producer import STATES, Status
from fastproc.commands import bench
from fastproc.core.errors import ConfigError, Unreachable
from fastproc.load import photos
from fastproc.load.arrivals import Burst, Open
from fastproc.load.order import run_name
from fastproc.load.running_deployment import refusal
from fastproc.load.usage import Cpu, Processes, series_sum
from fastproc.terminal.exits import Exit


def status(*, is_paused: bool = False, workers: tuple[str, ...] = ("w",), **counts: int) -> Status:
    return Status({state: counts.get(state, 0) for state in STATES}, workers, is_paused, (), ())


@pytest.mark.parametrize("state", ["wait", "prioritized", "paused"])
def test_a_queue_in_which_jobs_of_others_wait_is_refused(state: str) -> None:
    assert "jobs of others wait in this queue (3)" in refusal(status(**{state: 3}), yes=False)
    assert refusal(status(**{state: 3}), yes=True) == ""


def test_a_queue_without_worker_is_refused_and_a_paused_one_even_so() -> None:
    assert "no worker" in refusal(status(workers=()), yes=False)
    assert refusal(status(workers=()), yes=True) == ""
    hidden = structs.replace(status(workers=()), workers_unknown="unknown, because")
    assert "is unknown, because" in refusal(hidden, yes=False)
    assert "paused" in refusal(status(is_paused=True), yes=True)
    assert refusal(status(active=2, delayed=1, completed=9, failed=1), yes=False) == ""


def test_two_tests_have_two_names() -> None:
    assert run_name(1) != run_name(2)
    assert run_name(255).startswith("bench-")
    assert run_name(255).endswith("-000000ff")


def test_a_series_is_summed_over_its_labels() -> None:
    text = '# TYPE x counter\nx_total{slot="0"} 1.5\nx_total{slot="1"} 2e0\nx_total_created 9\ny 4.0\n'
    assert series_sum(text, "x_total") == 3.5
    assert series_sum(text, "y") == 4.0
    with pytest.raises(Unreachable, match="no z"):
        series_sum(text, "z")
    assert Cpu(5, 9).since(Cpu(2, 4)) == Cpu(3, 5)


def test_a_folder_gives_its_files_by_name_and_no_folders(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "c").mkdir()
    assert [file.name for file in photos.of_folder(tmp_path)] == ["a.jpg", "b.jpg"]
    with pytest.raises(ConfigError, match="no files"):
        photos.of_folder(tmp_path / "c")


#: What no option was given for.
NOTHING = dict.fromkeys(
    ("jobs", "outstanding", "rate", "rates", "seconds", "arrivals", "sweep", "hosts", "photos", "seed"), None
) | {"pairs": (), "metrics": (), "keep": False, "yes": False}


def test_a_sweep_varies_the_workers_of_embedded_servers_and_the_jobs_of_a_deployment() -> None:
    embedded = bench._order(False, {**NOTHING, "sweep": [1, 2], "jobs": 9})
    assert embedded.varied == "concurrency"
    assert [(step.load, step.concurrency) for step in embedded.steps] == [
        (Burst(jobs=9), 1),
        (Burst(jobs=9), 2),
    ]
    running = bench._order(True, {**NOTHING, "sweep": [1, 2]})
    assert running.varied == "outstanding"
    assert [(step.load, step.concurrency) for step in running.steps] == [
        (Burst(jobs=64, outstanding=1), None),
        (Burst(jobs=64, outstanding=2), None),
    ]


def test_rates_are_open_loads_and_a_burst_is_the_default() -> None:
    order = bench._order(True, {**NOTHING, "rates": [5.0, 10.0], "arrivals": "fixed", "seconds": 7.0})
    assert [step.load for step in order.steps] == [
        Open(rate=5, seconds=7, pattern="fixed"),
        Open(rate=10, seconds=7, pattern="fixed"),
    ]
    assert [step.load for step in bench._order(False, dict(NOTHING)).steps] == [Burst(jobs=64)]
    # Both the workers and a rate.
    [step] = bench._order(False, {**NOTHING, "rate": 3.0, "sweep": [2]}).steps
    assert (step.load, step.concurrency) == (Open(rate=3, seconds=30), 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--jobs 3 --rate 2", "--jobs and --rate cannot be used together"),
        ("--rate 3 --rates 1,2", "--rate and --rates cannot be used together"),
        ("--rates 3 --sweep 1,2", "--rates and --sweep cannot be used together"),
        ("--running --outstanding 3 --sweep 1,2", "--outstanding and --sweep cannot be used together"),
        ("--seconds 3", "--seconds needs --rate or --rates"),
        ("--running --hosts 2", "--hosts is not for --running"),
        ("--running --set LOG_LEVEL=warn", "--set is not for --running"),
        ("--keep", "--keep is for --running"),
        ("--metrics http://h/metrics", "--metrics is for --running"),
        ("--sweep 1,x", "expected numbers above 0"),
        ("--sweep 0", "expected numbers above 0"),
        ("--set WORKER_CONCURENCY=1", "there is no such setting"),
        ("--set WORKER_CONCURRENCY", "expected NAME=VALUE"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_starts(options: str, words: str) -> None:
    found = CliRunner().invoke(bench.command, options.split())
    assert found.exit_code == Exit.USAGE
    assert words in " ".join(found.output.split())


def test_memory_is_left_out_where_one_process_hides_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes([os.getpid()])
    processes.look_at_memory()
    assert processes.pss_bytes is not None
    assert processes.pss_bytes > 1 << 20
    real = Path.read_text

    def refused(self: Path, *given: Any) -> str:
        if self.name == "smaps_rollup":
            raise PermissionError(13, "ptrace")
        return real(self, *given)

    monkeypatch.setattr(Path, "read_text", refused)
    processes.look_at_memory()
    assert processes.pss_bytes is None
