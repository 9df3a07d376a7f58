"""What is known of the processes of a pool."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fastproc.core.model import Options
from fastproc.ipc.messages import Settings
from fastproc.supervisor.workers.roster import Roster


def test_what_a_worker_has_said_is_shown_without_secrets() -> None:
    processes: Any = Roster(Settings(options=Options()))
    processes._by_slot[0] = SimpleNamespace(said="GET https://s3/b?X-Amz-Signature=hush redis://me:hush@h")
    assert "hush" not in processes.said(0)
    assert processes.said(0).startswith("GET https://s3/b?")
    assert processes.said(1) == ""
