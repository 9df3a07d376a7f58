"""Runs a command: settings from the environment, logging, a uvloop, and a named exit code at the end.

Rule 1: what a person can correct ends in a message and an exit code; only what nobody expected ends in a traceback.
Rule 2: this is the only place that reads the environment for the settings.
Rule 3: a signal that ends a command is `interruption`'s; in a process that has not installed it, Python's.
Rule 4: a command tells a person what is wrong; the service tells its log, in the log's format.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

import uvloop

from fastproc import interruption
from fastproc.config import settings as all_settings
from fastproc.config.host import usable_cores
from fastproc.config.misspelt import likely_stage
from fastproc.config.secrets import secrets_of
from fastproc.config.settings import Config, load, strangers
from fastproc.core import stage_settings
from fastproc.core.errors import ConfigError, FleetHalted, TaskError, Unreachable
from fastproc.core.masking import masked
from fastproc.supervisor.log_level import set_level
from fastproc.terminal import output
from fastproc.terminal.exits import Exit
from fastproc.terminal.logs import configure, take_over

log = logging.getLogger("fastproc")

T = TypeVar("T")


def settings(*, quiet: bool = False) -> Config:
    """Read a command's settings and start logging; `quiet` logs errors only. Ends the process if a setting is wrong."""
    try:
        config = load(os.environ, usable_cores())
    except ConfigError as error:
        _end(Exit.CONFIG, error)
    _log_by(config, "error" if quiet else config.log.level)
    return config


def service_settings(supervisor: int = 0) -> Config:
    """The same for the service, whose errors are lines of its log. `supervisor`: which one of several this is."""
    try:
        config = load(os.environ, usable_cores())
    except ConfigError as error:
        # Which format is wanted may be read all the same.
        wanted = os.environ.get("LOG_FORMAT", "").strip().lower()
        configure("json" if wanted == "json" else "text", supervisor)
        _end(Exit.CONFIG, error, is_logged=True)
    _log_by(config, config.log.level, supervisor)
    take_over()
    return config


def _log_by(config: Config, level: str, supervisor: int = 0) -> None:
    configure(config.log.format, supervisor, secrets_of(config))
    set_level(level)


def misspelt(stages: Sequence[str] = ()) -> list[str]:
    """Return a warning for each variable that seems to be a misspelt setting; `stages`: those of your own, if known."""
    lost = stage_settings.strangers(os.environ, stages) if stages else []
    fronts = [stage_settings.prefix(stage) for stage in stages]
    words = (f"{name}: no stage of PIPELINE has that name{likely_stage(name, fronts)}" for name in lost)
    return [*strangers(os.environ), *words]


def origins() -> dict[str, str]:
    """Return where each setting comes from: `environment`, `file`, `default`."""
    return all_settings.origins(os.environ)


def run(
    work: Callable[[], Coroutine[Any, Any, T]], *, cleans_up: bool = False, is_service: bool = False
) -> T:
    """Run a command on uvloop and return its result. An error ends the process, with a message and an exit code.

    `cleans_up`: a signal is told to the command once, because what it removes then may take a while. `is_service`: the
    message is a line of the log.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                return runner.run(_attended(work, cleans_up))
            except BaseException:
                if interruption.came():
                    interruption.end(runner.get_loop())
                raise
    except ConfigError as error:
        _end(Exit.CONFIG, error, is_logged=is_service)
    except (Unreachable, TaskError) as error:
        _end(Exit.UNREACHABLE, error, is_logged=is_service)
    except FleetHalted as error:
        _end(Exit.HALTED, error, is_logged=is_service)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not is_service:
            raise  # Nobody reads the output any more: `terminal.output` ends the command.
        log.exception("unexpected error")
        sys.exit(Exit.HALTED)


async def _attended(work: Callable[[], Coroutine[Any, Any, T]], once: bool) -> T:
    task = asyncio.current_task()
    assert task is not None
    with interruption.attended(task, once=once):
        return await work()


def _end(code: Exit, error: Exception, *, is_logged: bool = False) -> NoReturn:
    # What is not set, or has its default, may have been meant to be set.
    meant = misspelt() if code in (Exit.CONFIG, Exit.UNREACHABLE) else []
    for line in [*str(error).splitlines(), *meant, f"exit {code.value} ({code.name})"]:
        if is_logged:
            log.error("%s", line)
        else:
            try:
                print(f"fastproc: {masked(line)}", file=sys.stderr, flush=True)
            except OSError:
                # Nobody hears it.
                output.discard(2)
                break
    sys.exit(code)
