"""The time of an event, which is written many times in a second."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fastproc.supervisor import announcer


@pytest.mark.parametrize(
    "times_ms",
    [(1_764_000_000_000, 1_764_000_000_007, 1_764_000_000_999, 1_764_000_001_000, 1_763_999_999_999)],
)
def test_a_time_is_the_moment_in_iso_8601_with_ms(
    monkeypatch: pytest.MonkeyPatch, times_ms: tuple[int, ...]
) -> None:
    for now_ms in times_ms:
        monkeypatch.setattr(announcer.time, "time_ns", lambda ms=now_ms: ms * 1_000_000 + 999_999)
        exact = datetime.fromtimestamp(now_ms / 1000, UTC)
        assert announcer.utc() == exact.isoformat(timespec="milliseconds").replace("+00:00", "Z")
