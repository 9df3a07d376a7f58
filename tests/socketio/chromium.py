"""A real browser for the tests of this room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance import peer as peers
from tests.conformance.peer import Peer

HERE = Path(__file__).parent


@contextmanager
def chromium(folder: Path, program: str) -> Iterator[Peer]:
    """Run a Chromium with a fresh profile below the folder, driven by this Node program. Skips where there is none."""
    peers.require(HERE)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium: apt-get install chromium")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        running = Peer(browser, folder=HERE, program=program)
    try:
        yield running
    finally:
        running.close()
