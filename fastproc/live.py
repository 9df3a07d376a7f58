"""The live control of one supervisor: hears what an operator orders, does it, and shows how the supervisor stands.

Rule 1: an order is about the whole host: each supervisor takes its share of it (`core.shares`), and answers for the
        whole.
Rule 2: what was changed holds until the service ends. A supervisor that is started again is told by its master; nothing
        is kept in Redis, so that a service that is started anew begins with its settings.
Rule 3: the handlers answer in words; a Refusal says what would be accepted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Final

from msgspec import Struct, structs

from fastproc import __version__
from fastproc.bullmq.address import connector
from fastproc.bullmq.control import Handler, Receiver
from fastproc.bullmq.hosts import Board
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config import live, sharing
from fastproc.config.fit import Room
from fastproc.config.host import host_name
from fastproc.config.settings import Config
from fastproc.core.acts import Act, Cancel, Pause, Resume, Set
from fastproc.core.control import Order, Refusal, kind, newest
from fastproc.core.fields import fields
from fastproc.core.rates import Rate
from fastproc.core.shares import Share
from fastproc.core.snapshot import NeighbourNow, Snapshot
from fastproc.parts import plan
from fastproc.supervisor import decoders
from fastproc.supervisor.log_level import set_level
from fastproc.supervisor.showing import Showing
from fastproc.supervisor.snapshots import Gatherer, Parts, wall_ms_of

log = logging.getLogger(__name__)

#: Part of each answer: how long it holds.
HOLDS: Final = "until the service ends"


class Whole(Struct, frozen=True):
    """The service's settings before they were shared out, its share of them, and what the host gives."""

    config: Config
    share: Share
    room: Room


class Live:
    """What an operator may change in the supervisor that `parts` are of. `on_kept` hears of orders that hold."""

    def __init__(self, whole: Whole, pipe: Pipe, parts: Parts, on_kept: Callable[[Order], None]) -> None:
        config, share = whole.config, whole.share
        self._whole, self._parts, self._on_kept = whole, parts, on_kept
        self._pool, self._rate, self._level = config.pool, rate_of(config), live.level(config.log.level)
        self._holes: tuple[str, ...] | None = None
        self._was = {
            "concurrency": str(config.pool.workers),
            "rate": str(self._rate),
            "log-level": self._level,
        }
        self._orders: tuple[Order, ...] = ()
        keys, place = Keys(config.queue.prefix, config.queue.name), (host_name(), share.number)
        outside = parts.outside
        own = structs.replace(
            parts,
            changed=self.changed,
            outside=lambda: (self._redis(pipe), *outside()),
            holes=self._known_holes,
            wheres=_wheres(config),
        )
        self._gatherer = Gatherer(place, share.of, __version__, own)
        self._showing = Showing(Board(pipe.call, keys), self.snapshot)
        handlers: dict[type, Handler] = {
            Set: self._set,
            Pause: self._pause,
            Resume: self._pause,
            Cancel: self._cancel,
        }
        self.receiver = Receiver(connector(config.redis, keys.base), pipe.call, keys, place, handlers)

    async def run(self) -> None:
        """Listen and show, without end."""
        await asyncio.gather(self.receiver.run(), self._showing.run())

    async def leave(self) -> None:
        """Show nothing any more."""
        await self._showing.leave()

    def snapshot(self) -> Snapshot:
        """Return how the supervisor stands."""
        return self._gatherer.now()

    def changed(self) -> Mapping[str, str]:
        """What an operator has changed, with the value before."""
        now = {"concurrency": str(self._pool.workers), "rate": str(self._rate), "log-level": self._level}
        return {name: f"{now[name]} (was {was})" for name, was in self._was.items() if now[name] != was}

    def keep(self, orders: Sequence[Order]) -> None:
        """Obey orders that hold already, unless a newer one is known."""
        for order in orders:
            if order in newest(self._orders, [order]) and order not in self._orders:
                try:
                    log.info("an order that holds: %s", self._obey(order.act), extra=fields(by=order.by))
                    self._orders = newest(self._orders, [order])
                except Refusal as refusal:
                    log.warning("an order that holds cannot be obeyed: %s", refusal)

    async def _set(self, order: Order) -> str:
        return self._obeyed(order)

    async def _pause(self, order: Order) -> str | None:
        # Without a host it is the queue's own pause, which is no service's business.
        return self._obeyed(order) if isinstance(order.act, Pause | Resume) and order.act.host else None

    async def _cancel(self, order: Order) -> None:
        # The order is a mark in Redis, which is looked for anyway: this makes it sooner. Who has the job answers.
        self._parts.service.cancellations.soon()

    def _obeyed(self, order: Order) -> str:
        text = self._obey(order.act)
        self._orders = (*(each for each in self._orders if kind(each) != kind(order)), order)
        self._on_kept(order)
        self._showing.soon()
        return text

    def _obey(self, act: Act) -> str:
        match act:
            case Set(name="concurrency", value=value):
                return self._set_concurrency(value)
            case Set(name="rate", value=value):
                return self._set_rate(value)
            case Set(name="log-level", value=value):
                return self._set_level(value)
            case Pause() | Resume():
                return self._set_paused(isinstance(act, Pause))
        raise Refusal("this is no order for a service")

    def _set_concurrency(self, value: str) -> str:
        whole, share, was = self._whole, self._whole.share, self._pool.workers
        wanted = live.pool(value, whole.config.pool, share.of)
        own = sharing.shared(structs.replace(whole.config, pool=wanted), share)
        pool, service = self._parts.pool, self._parts.service
        try:
            pool.resize(own.pool.workers, *plan(own, service.kernel, share))
        except OSError as error:
            raise Refusal(f"the kernel refuses memory for so many workers: {error}") from None
        service.resize(own.pool.max_in_hand)
        self._pool = wanted
        warnings = "".join(f"; warning: {words}" for words in live.warnings(wanted, whole.room, share.of))
        left = "; busy workers that are too many end after their photo" if wanted.workers < was else ""
        return f"concurrency {wanted.workers} (was {was}), {HOLDS}{left}{warnings}"

    def _set_rate(self, value: str) -> str:
        share, was = self._whole.share, self._rate
        wanted = live.rate(value, share.of)
        self._parts.service.limit(Rate(share.part(wanted.max), wanted.duration_ms))
        self._rate = wanted
        return f"rate {wanted} (was {was}), {HOLDS}"

    def _set_level(self, value: str) -> str:
        wanted, was = live.level(value), self._level
        set_level(wanted)
        self._level = wanted
        return f"log-level {wanted} (was {was}), {HOLDS}"

    def _set_paused(self, paused: bool) -> str:
        self._parts.service.pause(paused)
        return f"paused, {HOLDS} or is resumed; jobs in hand go on" if paused else "takes jobs again"

    def _known_holes(self) -> tuple[str, ...]:
        if self._holes is None and (greeting := self._parts.pool.greeting):
            self._holes = tuple(decoders.holes(greeting.versions, date.today()))
        return self._holes or ()

    def _redis(self, pipe: Pipe) -> NeighbourNow:
        outage = pipe.outage
        return NeighbourNow(
            name="redis",
            where=self._whole.config.redis.where,
            away=outage.why,
            away_since_ms=wall_ms_of(outage.since),
            latency_s=self._showing.latency_s,
            last_error=outage.last,
            last_error_at_ms=outage.last_at_ms,
        )


@asynccontextmanager
async def controlled(
    whole: Whole, pipe: Pipe, parts: Parts, on_kept: Callable[[Order], None]
) -> AsyncIterator[Live]:
    """Hear orders in the block, and show how the supervisor stands."""
    control = Live(whole, pipe, parts, on_kept)
    running = asyncio.create_task(control.run(), name="live control")
    try:
        yield control
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await control.leave()


def _wheres(config: Config) -> Mapping[str, str]:
    """Where neighbours are, by the names that snapshots give them; passwords masked."""
    store = config.s3.host_and_port
    return {"storage": store, "uploads": store, "database": config.database.where}


def rate_of(config: Config) -> Rate:
    """Return the rate limit of the settings."""
    return Rate(config.limiter.max, config.limiter.duration_ms)
