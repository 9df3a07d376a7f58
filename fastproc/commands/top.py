"""`fastproc top`: shows live how the services of the queue do, and what to do about what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from contextlib import AsyncExitStack
from functools import partial

import click
import msgspec
from msgspec import structs
from rich.console import Console

from fastproc.bullmq import hosts
from fastproc.bullmq.failures import SharedFailures
from fastproc.bullmq.opening import open_pipe, queue_desk
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.core.errors import QueueUnavailable, Unreachable
from fastproc.core.failures import Failure
from fastproc.core.remedies import REMEDIES
from fastproc.core.scene import Scene, Verdict, with_backlog
from fastproc.core.verdict import NEIGHBOURS, verdicts
from fastproc.terminal.exits import Exit
from fastproc.terminal.screen import Screen, interruptible
from fastproc.terminal.top import Frame, lines

#: Between two looks, and the longest wait for one.
LOOK_S, ANSWER_S = 1.0, 2.0


@click.command()
@click.option("--once", is_flag=True, help="Print one frame as text.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a line, with --once one alone.")
def command(once: bool, as_json: bool) -> None:
    """Show live how the services do, and what to do; q ends it.

    From the top: what is worst and what to do, the queue, each host with its workers and neighbours, failures by code.
    """
    config = running.settings(quiet=True)
    if as_json:
        if not running.run(lambda: print_json(config, once=once)):
            sys.exit(Exit.UNREACHABLE)
    elif once or not sys.stdout.isatty() or Console().is_dumb_terminal:
        running.run(lambda: print_once(config))
    else:
        running.run(lambda: show(config))


async def show(config: Config) -> None:
    """Show frames on the whole screen until the user or a signal ends it."""
    async with Watcher(config) as watcher, interruptible() as stopped:
        with Screen() as screen:
            while not stopped.is_set():
                began = time.monotonic()
                looking = asyncio.create_task(watcher.look())
                ending = asyncio.create_task(stopped.wait())
                await asyncio.wait((looking, ending), return_when=asyncio.FIRST_COMPLETED)
                if looking.done():
                    screen.show(partial(lines, looking.result()))
                    await asyncio.wait((ending,), timeout=max(0.1, began + LOOK_S - time.monotonic()))
                looking.cancel()
                ending.cancel()


async def print_once(config: Config) -> None:
    """Print one frame. Raises Unreachable."""
    async with Watcher(config, again=False) as watcher:
        frame = await watcher.look()
        if frame.scene is None:
            raise Unreachable(frame.verdicts[0].text)
    console = Console()
    for line in lines(frame, max(60, min(200, console.width))):
        console.print(line.plain, markup=False, highlight=False, soft_wrap=True)


async def print_json(config: Config, *, once: bool) -> bool:
    """Print what is known: one object, or one a line until somebody ends it. False: one, and nothing is known."""
    async with Watcher(config, again=not once) as watcher, interruptible(keys=False) as stopped:
        while not stopped.is_set():
            frame = await watcher.look()
            print(_json(frame), flush=True)
            if once:
                return frame.scene is not None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stopped.wait()
    return True


class Watcher:
    """Looks at the queue and its services, over a connection that is made again while Redis is away.

    `again`: somebody will look again.
    """

    def __init__(self, config: Config, *, again: bool = True) -> None:
        self._tried = "; it is tried again" if again else ""
        self._config, self._keys = config, Keys(config.queue.prefix, config.queue.name)
        self._stack = AsyncExitStack()
        self._pipe: Pipe | None = None
        self._last: tuple[float, Scene] | None = None

    async def __aenter__(self) -> Watcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def look(self) -> Frame:
        """Return the frame of now; while Redis is away, the newest that there was, and a verdict that says so."""
        name = f"{self._config.queue.prefix}:{self._config.queue.name}"
        try:
            async with asyncio.timeout(ANSWER_S):
                scene = await self._scene()
        except (QueueUnavailable, Unreachable, TimeoutError) as error:
            text = str(error)
            if not isinstance(error, Unreachable):
                why = self._pipe.outage.why if self._pipe else ""
                text = f"Redis at {self._config.redis.where} cannot be used: {why or text or 'no answer'}"
            away = Verdict("bad", f"{text.rstrip('.')}{self._tried}", NEIGHBOURS["redis"][2])
            if self._last is None:
                return Frame(name, [away])
            return Frame(name, [away], self._last[1], time.monotonic() - self._last[0])
        self._last = (time.monotonic(), scene)
        found = verdicts(scene.services, scene.queue, scene.failures, now_ms=scene.now_ms)
        return Frame(name, found, scene)

    async def _scene(self) -> Scene:
        pipe = self._pipe or await self._opened()
        services, queue, failures = await asyncio.gather(
            hosts.read(pipe.call, self._keys),
            self._desk.now(),
            SharedFailures(pipe.call, self._keys).read(),
        )
        now_ms = time.time_ns() // 1_000_000
        return Scene(services, with_backlog(queue, services, now_ms), failures, now_ms)

    async def _opened(self) -> Pipe:
        self._pipe = await self._stack.enter_async_context(open_pipe(self._config))
        self._desk = queue_desk(self._config, self._pipe)
        return self._pipe


def _json(frame: Frame) -> str:
    scene = frame.scene
    found = {
        "verdict": frame.verdicts[0],
        "verdicts": frame.verdicts,
        "queue": scene.queue if scene else None,
        "services": scene.services if scene else [],
        "failures": [_explained(row) for row in scene.failures] if scene else [],
        "age_s": round(frame.old_s, 1) if scene else None,
    }
    return msgspec.json.encode(found).decode()


def _explained(row: Failure) -> dict[str, object]:
    remedy = REMEDIES[row.code].operator if row.code in REMEDIES else ""
    return structs.asdict(row) | {"remedy": remedy}
