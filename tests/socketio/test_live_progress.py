"""examples/live_progress as its README says, in a real browser: live, a stranger, a reload, a lost connection."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastproc.embedded.child import free_ports
from fastproc.embedded.valkey import Valkey
from tests import pictures
from tests.conformance.peer import Peer
from tests.integration.service import Place, Start, frozen
from tests.socketio.chromium import chromium

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "live_progress"
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A Chromium with a fresh profile."""
    with chromium(tmp_path_factory.mktemp("browser"), "browser.js") as running:
        yield running


@contextmanager
def serving(valkey: Valkey, port: int, stream: str) -> Iterator[str]:
    """Run the example's server; yield its address."""
    more = {"PORT": str(port), "REDIS_URL": valkey.url, "EVENTS_STREAM": stream}
    server = subprocess.Popen(
        ["node", "server.js"],
        cwd=EXAMPLE,
        env={**os.environ, **more, "NODE_PATH": str(HERE / "node_modules")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


async def cards(browser: Peer, name: str, as_told: Callable[[list[Any]], bool]) -> list[tuple[str, int, str]]:
    """Return the photos that a page shows (state, per cent, text), as soon as they are as told."""
    deadline = time.monotonic() + PATIENCE_S
    while not as_told(found := [tuple(card) for card in await browser("cards", name=name)]):
        assert time.monotonic() < deadline, found
    return found


async def test_a_page_shows_its_own_photos_live_and_what_it_missed(
    browser: Peer, valkey: Valkey, place: Place, start: Start, tmp_path: Path
) -> None:
    place.put("one.jpg", pictures.jpeg(900, 600))
    place.put("cut.jpg", pictures.jpeg()[:2000])
    [port] = free_ports(1)
    service = start(EVENTS_SOCKETIO="1", EVENTS_STREAM=f"{place.queue}-events")
    with serving(valkey, port, f"{place.queue}-events") as url:
        mine = {"clientId": await browser("open", name="me", url=url, width=1280, height=800)}
        other = await browser("open", name="stranger", url=url, width=390, height=844)
        assert other != mine["clientId"]
        with frozen(service.workers()[0]):
            await place.add({"photoId": "one", "s3Key": "one.jpg", **mine})
            [held] = await cards(browser, "me", lambda found: bool(found) and found[0][1] == 25)
            assert held == ("running", 25, "one25 % ")
        [done] = await cards(browser, "me", lambda found: found[0][0] == "completed")
        assert done[1] == 100
        assert re.fullmatch(r"onedone in \d+ ms 150 . 100300 . 200600 . 400", done[2])
        await place.add({"photoId": "cut", "s3Key": "cut.jpg", **mine})
        shown = await cards(browser, "me", lambda found: len(found) == 2 and found[0][0] == "failed")
        assert "FILE_CORRUPTED: " in shown[0][2]
        await browser("picture", name="me", file=str(tmp_path / "desktop.png"))
        assert await browser("cards", name="stranger") == []
        await browser("reload", name="me")
        again = await cards(
            browser, "me", lambda found: [card[0] for card in found] == ["failed", "completed"]
        )
        assert again == shown
    missed = await place.add({"photoId": "missed", "s3Key": "one.jpg", **mine})
    place.until("completed", missed)
    assert await browser("line", name="me") == "not connected, trying again"
    with serving(valkey, port, f"{place.queue}-events"):
        found = await cards(browser, "me", lambda found: len(found) == 3 and found[0][0] == "completed")
        assert (found[0][1], found[0][2][:6], found[1:]) == (100, "missed", shown)
        stranger = {"photoId": "x" * 100, "s3Key": "one.jpg", "clientId": other}
        place.until("completed", await place.add(stranger))
        await cards(browser, "stranger", lambda found: [card[:2] for card in found] == [("completed", 100)])
        await browser("picture", name="stranger", file=str(tmp_path / "phone.png"))
        assert await browser("wide", name="stranger") is False
        assert len(await browser("cards", name="me")) == 3
    place.redis.delete(f"{place.queue}-events")


async def test_a_page_keeps_the_order_of_the_events_however_they_come(
    browser: Peer, valkey: Valkey, unique: str
) -> None:
    def told(second: int, kind: str, **data: Any) -> dict[str, Any]:
        about = {"photoId": "p", "jobId": "1", **data}
        when = f"2026-01-01T00:00:0{second}.000Z"
        return {
            "id": f"1:{kind}:{second}",
            "type": f"photo.processing.{kind}",
            "timestamp": when,
            "data": about,
        }

    error = {
        "code": "WORKER_KILLED",
        "message": "<b>killed</b>",
        "retryable": True,
        "attempt": 1,
        "willRetry": True,
    }
    first = [told(1, "started"), told(2, "progress", progress=75), told(3, "failed", error=error)]
    second = [told(4, "started"), told(5, "progress", progress=45)]
    completed = told(6, "completed", thumbnails=[], duration=7)
    [port] = free_ports(1)
    with serving(valkey, port, f"{unique}-events") as url:
        await browser("open", name="page", url=url, width=800, height=600)
        for events, shown in (
            (first[::-1], ("failed", 75, "pWORKER_KILLED: <b>killed</b> ")),
            (second[::-1], ("running", 45, "p45 % ")),
            (first + second, ("running", 45, "p45 % ")),
            ([completed], ("completed", 100, "pdone in 7 ms ")),
            (first[::-1], ("completed", 100, "pdone in 7 ms ")),
        ):
            await browser("tell", name="page", events=events)
            assert await cards(browser, "page", bool) == [shown]


def test_the_examples_packages_are_those_that_are_tried() -> None:
    wanted, tried = (
        json.loads((folder / "package.json").read_text())["dependencies"] for folder in (EXAMPLE, HERE)
    )
    assert {name: tried.get(name) for name in wanted} == wanted
