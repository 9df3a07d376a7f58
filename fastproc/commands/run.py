"""`fastproc run`: runs the service until a signal stops it.

Where there are several supervisors, this process is their master, which starts each by
`python -P -m fastproc.commands.run FD SHARE`: FD is its end of the link, SHARE which of how many it is, in JSON. Its
settings are those of the master's environment. (-P: the current directory is no place to import from.)
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click
import msgspec

from fastproc import __version__, operating
from fastproc.app import App
from fastproc.commands import running
from fastproc.config import sharing
from fastproc.config.fit import misfits
from fastproc.config.host import room
from fastproc.config.settings import Config
from fastproc.core.model import own_stages
from fastproc.core.shares import WHOLE, Share
from fastproc.ipc import link
from fastproc.supervisor.master_link import obey
from fastproc.supervisor.outage_link import ToMaster
from fastproc.terminal.exits import Exit

log = logging.getLogger(__name__)

#: Signals that stop the service: a second one ends the wait for the jobs in hand. SIGHUP comes from a terminal that
#: closes, SIGUSR1 from process managers of Node; the default of both is to kill, which would give no job back.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@click.command()
def command() -> None:
    """Serve the queue until SIGTERM or SIGINT.

    The first signal finishes the jobs in hand, for SHUTDOWN_GRACE_S seconds at most; a second signal gives them back
    to the queue at once. SIGHUP and SIGUSR1 do the same.
    """
    config = running.service_settings()
    supervisors = sharing.supervisors(config)
    for words in (
        *running.misspelt(own_stages(config.pipeline.stages)),
        *misfits(config.pool, room(), supervisors),
    ):
        log.warning("%s", words)
    if supervisors > 1:
        sys.exit(running.run(lambda: lead(config), is_service=True))
    running.run(lambda: serve(config), is_service=True)


async def serve(
    config: Config, share: Share | None = None, fd: int | None = None, whole: Config | None = None
) -> None:
    """Run the service until a signal stops it, or the master at the link `fd`. Raises what `App.serve` raises.

    `whole`: the settings that `config` is one supervisor's share of.
    """
    service = App(config, share or WHOLE, whole)
    service.origins = running.origins()
    _stop_by_signals(service.stop)
    async with _led(service, fd):
        await service.serve()
    if service.gave_up:
        # Python waits for every thread and task at its end, and one of them hangs.
        logging.shutdown()
        os._exit(Exit.OK)


async def lead(config: Config) -> int:
    """Run the service with several supervisors until a signal stops it; return the exit code."""
    # A service with one supervisor needs none of it.
    from fastproc.master.master import Master, Rules

    shares = sharing.every_share(config)
    rules = Rules(
        supervisors=len(shares),
        grace_s=config.pool.shutdown_grace_s,
        host=config.http.host,
        port=config.http.port,
        log_s=config.log.health_s,
        page=operating.rules(config, running.origins()),
    )
    workers = ", ".join(str(sharing.shared(config, share).pool.workers) for share in shares)
    log.info("fastproc %s: %d supervisors, with %s workers (SUPERVISORS)", __version__, len(shares), workers)
    master = Master(rules, _supervisor)
    _stop_by_signals(master.stop)
    return await master.run()


def main(argv: list[str]) -> None:
    """Run one supervisor of several."""
    share = msgspec.json.decode(argv[2], type=Share)
    whole = running.service_settings(share.number)
    config = sharing.shared(whole, share)
    running.run(lambda: serve(config, share, int(argv[1]), whole), is_service=True)


def _supervisor(fd: int, share: Share) -> list[str]:
    """The argv of a supervisor."""
    return [sys.executable, "-P", "-m", "fastproc.commands.run", str(fd), msgspec.json.encode(share).decode()]


def _stop_by_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        # `nohup` has SIGHUP ignored: its user wants the service to outlive the terminal.
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        loop.add_signal_handler(number, stop)


@asynccontextmanager
async def _led(service: App, fd: int | None) -> AsyncIterator[None]:
    """Obey the master during the block, and tell it at the end how the service did."""
    if fd is None:
        yield
        return
    end = await link.supervisor_end(fd)
    obeying = asyncio.create_task(obey(end, service), name="master")
    [handler] = logging.getLogger().handlers[:1]
    handler.addFilter(to_master := ToMaster(end.send))
    try:
        yield
    finally:
        handler.removeFilter(to_master)
        obeying.cancel()
        end.send(service.told())
        await end.close()


if __name__ == "__main__":
    main(sys.argv)
