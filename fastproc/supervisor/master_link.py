"""A supervisor's side of the link to its master: says when it serves, tells how it does, and stops when it is told to.

Rule 1: a master that is gone has nobody who would wait: the jobs in hand go back at once.
Rule 2: orders that hold are told to the master, which tells them to a supervisor that is started again.
Rule 3: errands are done side by side, and none holds up an answer about health.
Rule 4: the last thing that is sent is how it did at the end, so that no job is missing from the master's counters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from fastproc.core.control import Order
from fastproc.ipc.errands import Done, Errand
from fastproc.ipc.link import Ask, Kept, Link, Serving, Stop, Told, ToSupervisor

log = logging.getLogger(__name__)


class Led(Protocol):
    """What is linked to a master: a service that can be asked and stopped."""

    @property
    def serving(self) -> asyncio.Event:
        """Set when jobs are taken."""

    @property
    def told(self) -> Callable[[], Told]:
        """Says how it does."""

    #: Hears of each order that was obeyed and holds.
    on_kept: Callable[[Order], None]

    def keep(self, orders: Sequence[Order]) -> None:
        """Obey orders that hold already, as soon as it can."""

    def order_stop(self, *, hurry: bool) -> None:
        """Take no more jobs, and end; `hurry`: without those in hand."""

    async def done(self, errand: Errand) -> Done:
        """Do an errand for the page."""


async def obey(link: Link[ToSupervisor], service: Led) -> None:
    """Answer the master until it is gone, or this is cancelled."""
    announcing = asyncio.create_task(_announce(link, service), name="serving")
    errands: set[asyncio.Task[None]] = set()
    service.on_kept = lambda order: link.send(Kept((order,)))
    try:
        while (message := await link.receive()) is not None:
            match message:
                case Ask():
                    link.send(service.told())
                case Kept(orders=orders):
                    service.keep(orders)
                case Stop(hurry=hurry):
                    service.order_stop(hurry=hurry)
                case Errand():
                    errand = asyncio.create_task(_run(link, service, message), name="errand")
                    errands.add(errand)
                    errand.add_done_callback(errands.discard)
        log.warning("the master process has ended; stopping at once")
        service.order_stop(hurry=True)
    finally:
        for task in (announcing, *errands):
            task.cancel()


async def _announce(link: Link[ToSupervisor], service: Led) -> None:
    await service.serving.wait()
    link.send(Serving())


async def _run(link: Link[ToSupervisor], service: Led, errand: Errand) -> None:
    link.send(await service.done(errand))
