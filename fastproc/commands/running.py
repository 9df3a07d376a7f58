"""Runs a command: settings from the environment, logging, a uvloop, and a named exit code at the end.

Rule 1: what a person can correct ends in a message and an exit code; only what nobody expected ends in a traceback.
Rule 2: this is the only place that reads the environment for the settings.
Rule 3: a signal that ends a command is `interruption`'s; in a process that has not installed it, Python's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import uvloop

from fastproc import interruption
from fastproc.config.host import usable_cores
from fastproc.config.settings import Config, load, strangers
from fastproc.core.errors import ConfigError, FleetHalted, TaskError, Unreachable
from fastproc.terminal.exits import Exit
from fastproc.terminal.logs import configure

log = logging.getLogger("fastproc")

T = TypeVar("T")


def settings(*, quiet: bool = False, supervisor: int = 0) -> Config:
    """Read the settings and start logging; `quiet` logs errors only. Ends the process if a setting is wrong.

    `supervisor`: which one of several this process is (0: there is one).
    """
    try:
        config = load(os.environ, usable_cores())
    except ConfigError as error:
        _end(Exit.CONFIG, error)
    configure("error" if quiet else config.log.level, supervisor)
    return config


def misspelt() -> list[str]:
    """Return a warning for each variable that seems to be a misspelt setting."""
    return strangers(os.environ)


def run(work: Callable[[], Coroutine[Any, Any, T]], *, cleans_up: bool = False) -> T:
    """Run a command on uvloop and return its result. An error ends the process, with a message and an exit code.

    `cleans_up`: a signal is told to the command once, because what it removes then may take a while.
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
        _end(Exit.CONFIG, error)
    except (Unreachable, TaskError) as error:
        _end(Exit.UNREACHABLE, error)
    except FleetHalted as error:
        _end(Exit.HALTED, error)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:
        log.exception("unexpected error")
        sys.exit(Exit.HALTED)


async def _attended(work: Callable[[], Coroutine[Any, Any, T]], once: bool) -> T:
    task = asyncio.current_task()
    assert task is not None
    with interruption.attended(task, once=once):
        return await work()


def _end(code: Exit, error: Exception) -> NoReturn:
    for line in str(error).splitlines():
        print(f"fastproc: {line}", file=sys.stderr)
    # What is not set, or has its default, may have been meant to be set.
    for line in misspelt() if code in (Exit.CONFIG, Exit.UNREACHABLE) else ():
        print(f"fastproc: {line}", file=sys.stderr)
    print(f"fastproc: exit {code.value} ({code.name})", file=sys.stderr)
    sys.exit(code)
