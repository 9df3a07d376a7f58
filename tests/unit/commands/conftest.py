"""For tests that run commands in this process: a loop that is no leak, and settings and logging as they were."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fastproc.commands import running
from fastproc.config.settings import Config, table


@pytest.fixture(autouse=True, scope="session")
def a_first_loop() -> None:
    """uvloop keeps a pipe for signals from its first loop on: that is not a leak of a test."""

    async def nothing() -> None:
        return

    running.run(nothing)


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of ours from outside, and the root logger as it was."""
    for row in table(Config()):
        monkeypatch.delenv(row.env, raising=False)
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
