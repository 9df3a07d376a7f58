"""A small crash mix through the whole service: photos that end their worker fail alone, each after its second death."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "crashmix.py"


def test_photos_that_end_their_worker_fail_and_no_other() -> None:
    """By segmentation faults, an abort and an exit code; bench/crashmix.py has more, and the Node worker beside it."""
    done = subprocess.run(
        [sys.executable, str(BENCH), "--photos", "24", "--killers", "4", "--concurrency", "3", "--no-node"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["reasons"] == {"POISON_PHOTO": 4}
    assert (found["failed"], found["innocent_failed"], found["innocent_run_twice"]) == (4, 0, 0)
    assert found["worker_deaths"] == 8
    assert found["unfinished"] == 0
    assert found["supervisor_is_the_same"]
