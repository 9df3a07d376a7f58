"""The feed: the whole state first, then changes; nothing is looked at while nobody listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from fastproc.desk.live import Live


class Source:
    """What is looked at."""

    def __init__(self) -> None:
        self.state: dict[str, object] = {"a": 1, "b": [1, "x\ny"]}
        self.looks = 0
        self.broken = False

    async def look(self) -> dict[str, bytes]:
        self.looks += 1
        if self.broken:
            raise RuntimeError("a defect")
        return {name: json.dumps(value).encode() for name, value in self.state.items()}


def told(part: bytes) -> dict[str, object] | None:
    """The sections of an event; None for a beat."""
    kind, _, data = part.decode().removesuffix("\n\n").partition("\ndata:")
    assert "\n" not in data
    return json.loads(data) if kind == "event: state" else None


async def listen(live: Live) -> AsyncIterator[bytes]:
    parts = live.parts()
    assert (await anext(parts)).startswith(b"retry: ")
    return parts


async def test_a_listener_gets_everything_and_then_what_has_changed() -> None:
    source = Source()
    live = Live(source.look, every_s=0.01)
    parts = await listen(live)
    assert told(await anext(parts)) == source.state
    assert told(await anext(parts)) is None
    source.state["a"] = 2
    while (change := told(await anext(parts))) is None:
        pass
    assert change == {"a": 2}
    await parts.aclose()


async def test_nothing_is_looked_at_while_nobody_listens() -> None:
    source = Source()
    live = Live(source.look, every_s=0.001)
    await asyncio.sleep(0.02)
    assert source.looks == 0
    parts = await listen(live)
    await anext(parts)
    await parts.aclose()
    looks = source.looks
    await asyncio.sleep(0.02)
    assert (source.looks, live.listeners) == (looks, 0)


async def test_all_listeners_share_one_look_and_one_that_comes_late_gets_everything() -> None:
    source = Source()
    live = Live(source.look, every_s=3600)
    first, second = await listen(live), await listen(live)
    assert told(await anext(first)) == told(await anext(second)) == source.state
    late = await listen(live)
    assert told(await anext(late)) == source.state
    assert source.looks == 1
    for parts in (first, second, late):
        await parts.aclose()


async def test_a_slow_listener_gets_the_newest_state_and_holds_up_nobody() -> None:
    source = Source()
    live = Live(source.look, every_s=0.001)
    slow, quick = await listen(live), await listen(live)
    await anext(slow)
    for number in range(2, 6):
        source.state["a"] = number
        while told(await anext(quick)) != {"a": number}:
            pass
    assert told(await anext(slow)) == {"a": 5}
    for parts in (slow, quick):
        await parts.aclose()


async def test_after_a_pause_no_old_state_is_sent() -> None:
    source = Source()
    live = Live(source.look, every_s=3600)
    parts = await listen(live)
    await anext(parts)
    await parts.aclose()
    source.state = {"a": "new"}
    parts = await listen(live)
    assert told(await anext(parts)) == {"a": "new"}
    await parts.aclose()


async def test_a_look_that_breaks_sends_nothing_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    source.broken = True
    live = Live(source.look, every_s=0.001)
    parts = await listen(live)
    coming = asyncio.ensure_future(anext(parts))
    await asyncio.sleep(0.02)
    assert not coming.done()
    source.broken = False
    assert told(await coming) == source.state
    assert "the page's state cannot be found" in caplog.text
    await parts.aclose()
