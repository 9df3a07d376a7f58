"""Fixtures that several rooms' tests share: real servers once a session, a fresh place in them for every test.

A server that is not installed skips its tests here, and fails them where CI=true (tests/skips.py).
"""

from __future__ import annotations

import logging
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from fastproc.backends.metadata_sqlite import create_schema
from fastproc.config.s3 import S3Config
from fastproc.embedded.child import ServerFailed
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.valkey import Valkey
from fastproc.supervisor.log_level import OURS
from tests.files import pytest_configure, pytest_report_header, pytest_sessionfinish  # noqa: F401
from tests.leaks import Held
from tests.names import pytest_make_parametrize_id, pytest_runtest_setup  # noqa: F401
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401  # pytest finds them here
from tests.spread import pytest_xdist_make_scheduler  # noqa: F401

# A busy machine makes an example slow, which says nothing of the code; in CI the same examples run every time.
settings.register_profile(
    "suite", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# A suite that is run under `nohup` has SIGHUP ignored, and so would have the services that its tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Fail the test that leaves a descriptor or a child process behind."""
    before = Held()
    yield
    left = before.grown()
    assert not left, "left open:\n  " + "\n  ".join(left)


@pytest.fixture(autouse=True)
def loggers_stay_as_they_are() -> Iterator[None]:
    """Take back what a test sets by a command that runs in this process: the levels of our loggers and of the root."""
    loggers = [logging.getLogger(), logging.getLogger(OURS)]
    before = [(each, each.level, list(each.handlers)) for each in loggers]
    yield
    for each, level, handlers in before:
        each.setLevel(level)
        each.handlers[:] = handlers


Server = TypeVar("Server", Valkey, SeaweedFS, PostgreSQL)


def _running(make: Callable[[], Server]) -> Iterator[Server]:
    """Yield the server, running; skip the test where it is not installed."""
    try:
        server = make()
        server.start()
        server.wait_ready()
    except ServerFailed as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Valkey for the session: `.host`, `.port`, `.url`. Isolate by queue name (`unique`)."""
    yield from _running(lambda: Valkey(tmp_path_factory.mktemp("valkey")))


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """One S3 server for the session. Tests want `s3`, a bucket of their own in it, also by BUCKET.s3.test."""
    yield from _running(lambda: SeaweedFS(tmp_path_factory.mktemp("seaweedfs"), domain="s3.test"))


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """One PostgreSQL for the session. Isolate by schema: `?schema=` in the URL."""
    yield from _running(lambda: PostgreSQL(tmp_path_factory.mktemp("postgresql")))


@pytest.fixture(scope="session")
def _s3_client(seaweedfs: SeaweedFS) -> Iterator[object]:
    client = seaweedfs.client()
    client.list_buckets()  # Opens the connection that it keeps, before any test counts descriptors.
    yield client
    client.close()


@pytest.fixture
def unique() -> str:
    """A name that no other test has: for a queue, a bucket, a prefix."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def s3(seaweedfs: SeaweedFS, _s3_client: object, unique: str) -> S3Config:
    """A fresh bucket on a real S3 server, and how to reach it. Its first write takes 0.2 s."""
    _s3_client.create_bucket(Bucket=unique)
    return msgspec.structs.replace(seaweedfs.config, bucket=unique, allowed_buckets=(unique,))


@pytest.fixture
def s3_client(_s3_client: object, s3: S3Config) -> object:
    """A boto3 client for the server of `s3`, to prepare objects and to look at them from outside."""
    return _s3_client


@pytest.fixture
def sqlite_path(tmp_path: Path) -> str:
    """A fresh database with the table `photos`."""
    path = str(tmp_path / "photos.db")
    create_schema(path)
    return path
