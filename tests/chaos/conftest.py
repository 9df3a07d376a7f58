"""Places for chaos tests, and cases that run side by side: most of a case is waiting for a lock or for a pause to end.

A module of side-by-side cases defines `scenario(make, name)`, which returns what was wrong, and tests that are
parametrised by `name` and ask the fixture `wrong`; `ABOUT_S`, where its cases are long. Only the selected cases run,
and all of them before the first test looks.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.trial.place import Place, place
from fastproc.embedded.trial.rows import Database
from tests import pictures

#: Two cores do it: a case needs about one second of one of them.
SIDE_BY_SIDE = 6

HERE = Path(__file__).parent

#: Seconds that each case took, for the summary at the end.
DURATIONS = pytest.StashKey[dict[str, float]]()
LONGEST = 8

#: Makes a place with the photos of `PHOTOS` in its bucket; `valkey` are options of its queue's server, `rows` is
#: another database than a file.
Make = Callable[..., AbstractContextManager[Place]]
#: A module and the name of a case in it.
Case = tuple[str, str]
#: What was wrong in the case of this name.
Wrong = Callable[[str], list[str]]

#: Small and different: plain, progressive, turned, grey, of fine detail, with a wide palette.
PHOTOS = {
    "plain.jpg": pictures.jpeg(),
    "progressive.jpg": pictures.jpeg(400, 300, progressive=True),
    "turned.jpg": pictures.turned(6),
    "grey.jpg": pictures.jpeg(300, 200, "L"),
    "detailed.jpg": pictures.encoded(pictures.detailed(), "JPEG", quality=92),
    "wide.jpg": pictures.display_p3(),
}


@pytest.fixture(scope="session")
def make(seaweedfs: SeaweedFS, _s3_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes places; may be called in any thread, which must live as long as the place."""
    lock = threading.Lock()

    @contextmanager
    def go(valkey: tuple[str, ...] = (), rows: Database | None = None) -> Iterator[Place]:
        bucket = f"c-{uuid.uuid4().hex[:12]}"
        with lock:
            _s3_client.create_bucket(Bucket=bucket)
            folder = tmp_path_factory.mktemp("place")
        s3 = msgspec.structs.replace(seaweedfs.config, bucket=bucket, allowed_buckets=(bucket,))
        with place(folder, s3, _s3_client, valkey=valkey, rows=rows) as made:
            for name, body in PHOTOS.items():
                made.put(name, body)
            yield made

    return go


@pytest.fixture(scope="session")
def _ends(request: pytest.FixtureRequest, make: Make) -> dict[Case, Future[list[str]]]:
    """Run the selected cases of all modules side by side, to their end: no test must see another one's processes."""
    cases = [
        (item.module, item.callspec.params["name"])
        for item in request.session.items
        # Other rooms have a parameter of that name.
        if "wrong" in getattr(item, "fixturenames", ()) and item.path.parent == HERE
    ]
    # The longest first, so that none runs alone at the end.
    cases.sort(key=lambda case: -getattr(case[0], "ABOUT_S", 0))
    took = request.config.stash.setdefault(DURATIONS, {})

    def run(module: ModuleType, name: str) -> list[str]:
        began = time.monotonic()
        try:
            found: list[str] = module.scenario(make, name)
            return found
        finally:
            took[f"{module.__name__}: {name}"] = time.monotonic() - began

    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="case") as threads:
        return {(module.__name__, name): threads.submit(run, module, name) for module, name in cases}


@pytest.fixture
def wrong(request: pytest.FixtureRequest, _ends: dict[Case, Future[list[str]]]) -> Wrong:
    """Returns what was wrong in a case of the module."""
    return lambda name: _ends[request.module.__name__, name].result()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name the cases that took longest: pytest sees only the first test of a module wait for all."""
    took = sorted(config.stash.get(DURATIONS, {}).items(), key=lambda item: -item[1])
    if took:
        terminalreporter.write_line(f"longest of {len(took)} chaos cases:")
    for name, seconds in took[:LONGEST]:
        terminalreporter.write_line(f"  {seconds:5.1f} s {name}")
