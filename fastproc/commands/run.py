"""`fastproc run`: runs the service until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import click

from fastproc.app import App
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.terminal.exits import Exit

#: Signals that stop the service: a second one ends the wait for the jobs in hand. SIGHUP comes from a terminal that
#: closes, SIGUSR1 from process managers of Node; the default of both is to kill, which would give no job back.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@click.command()
def command() -> None:
    """Serve the queue until SIGTERM or SIGINT.

    The first signal finishes the jobs in hand, for SHUTDOWN_GRACE_S seconds at most; a second signal gives them back
    to the queue at once. SIGHUP and SIGUSR1 do the same.
    """
    config = running.settings()
    running.run(lambda: serve(config))


async def serve(config: Config) -> None:
    """Run the service until a signal stops it. Raises what `App.serve` raises."""
    service = App(config)
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        # `nohup` has SIGHUP ignored: its user wants the service to outlive the terminal.
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        loop.add_signal_handler(number, service.stop)
    await service.serve()
    if service.gave_up:
        # Python waits for every thread and task at its end, and one of them hangs.
        logging.shutdown()
        os._exit(Exit.OK)
