"""Has stages of your own looked at in a process of their own, which has a worker's environment and no credentials."""

from __future__ import annotations

import asyncio
from asyncio import subprocess
from typing import Final

import msgspec

from fastproc.core.errors import ConfigError
from fastproc.core.stage_settings import StageSettings
from fastproc.ipc import launch, stage_check
from fastproc.ipc.stage_check import Found, Order, Row

#: Libraries for machine learning take some 10 s to import from a cold disk.
LOOK_S: Final = 60.0


async def stages_as_found(stages: tuple[str, ...], settings: StageSettings) -> tuple[Row, ...]:
    """Return the stages' settings. Raises ConfigError with every problem of a stage, or of what is set for it."""
    if not stages:
        return ()
    answer = await _answer(stage_check.command(Order(stages, settings)), stages)
    if answer.problems:
        raise ConfigError(list(answer.problems))
    return answer.rows


async def _answer(argv: list[str], stages: tuple[str, ...]) -> Found:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(launch.ENVIRONMENT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LOOK_S):
            out, said = await process.communicate()
    except TimeoutError:
        raise ConfigError([f"PIPELINE: {_named(stages)} cannot be loaded within {LOOK_S:g} s"]) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return msgspec.json.decode(out.splitlines()[-1], type=Found)
    except (IndexError, msgspec.DecodeError):
        last = (said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        why = f"{_named(stages)} cannot be loaded: its process ended with {process.returncode}: {last}"
        raise ConfigError([f"PIPELINE: {why}"]) from None


def _named(stages: tuple[str, ...]) -> str:
    return f"stage {stages[0]!r}" if len(stages) == 1 else f"the stages {', '.join(stages)}"
