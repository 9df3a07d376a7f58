"""The kernel as a neighbour: what it refuses pauses the intake, the probe ends the pause, nothing is left open."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from fastproc.core.breaker import Rules
from fastproc.core.errors import NeighbourAway
from fastproc.supervisor.kernel import Kernel
from fastproc.supervisor.workers.host import ASIDE_S

RULES = Rules(pause_s=0.02, pause_max_s=0.02)


async def test_a_refusal_pauses_the_intake_until_a_probe_passes_and_is_two_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(24, "Too many open files")

    kernel = Kernel(RULES)
    with caplog.at_level(logging.WARNING):
        watching = asyncio.create_task(kernel.watch())
        with monkeypatch.context() as patch:
            patch.setattr(os, "memfd_create", refuse)
            for _ in range(5):
                away = kernel.refused("shared memory: Too many open files")
                assert isinstance(away, NeighbourAway)
                assert away.aside_s == ASIDE_S
            assert not kernel.admits(0)
            await asyncio.sleep(0.1)
            assert not kernel.admits(0)
            assert "Too many open files" in kernel.away
        async with asyncio.timeout(5):
            while not kernel.admits(0):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        watching.cancel()
        await asyncio.wait([watching])
    assert kernel.away == ""
    assert len(caplog.records) == 2
    assert caplog.records[0].getMessage().startswith("the kernel refuses what a job needs, no jobs are taken")
    assert caplog.records[1].getMessage().startswith("the kernel is back after ")


async def test_it_is_away_while_no_worker_can_be_spawned() -> None:
    kernel = Kernel(RULES)
    kernel.spawning = lambda: "fork: Resource temporarily unavailable"
    kernel.refused("a worker process")
    watching = asyncio.create_task(kernel.watch())
    await asyncio.sleep(0.1)
    assert kernel.away == "fork: Resource temporarily unavailable"
    kernel.spawning = lambda: ""
    async with asyncio.timeout(5):
        while kernel.away:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    watching.cancel()
    await asyncio.wait([watching])
