"""The supervisor against processes that speak the workers' protocol and lie (`tests.liar`)."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable

import psutil
import pytest

from fastproc.core.errors import WorkerCrashed, WorkerTimeout
from fastproc.core.model import Limits, Options
from fastproc.ipc import launch
from tests import liar
from tests.integration.test_jail import PHOTO, process, started, until_alive

OPTIONS = Options(stages=("validation",), limits=Limits(max_source_bytes=8 << 20))


@pytest.fixture
def liars(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Say what the workers that are started from now on will lie; "" for the real ones."""
    real = launch.command

    def hire(lie: str) -> None:
        monkeypatch.setattr(
            launch,
            "command",
            lambda fd, settings: (
                [sys.executable, "-I", liar.__file__, str(fd), lie] if lie else real(fd, settings)
            ),
        )

    return hire


async def test_a_process_that_does_not_lie_is_believed(liars: Callable[[str], None]) -> None:
    """So that the lies below are found out for what they say, and not for who says it."""
    liars("nothing_wrong")
    async with started(options=OPTIONS) as pool:
        assert (await process(pool, PHOTO)).report.width == 640


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("garbage", "cannot be read"),
        ("an_endless_message", "a message over 163840 bytes"),
        ("arrays_in_arrays", "cannot be read"),
        ("a_map_that_claims_to_be_huge", "cannot be read"),
        ("ready_again", "Ready when nobody asked"),
        ("a_stage_twice", "Progress when nobody asked"),
        ("a_stage_of_its_own", "Progress when nobody asked"),
        ("a_code_of_its_own", "the code of a failure"),
        ("somebody_elses_fault", "the code of a failure"),
        ("a_long_story", "the words of a failure"),
        ("no_number", "a time or a count"),
        ("a_million_facts", "the warnings"),
        ("facts_in_facts", "facts within facts"),
        ("facts_that_are_no_json", "bytes in the facts"),
        ("bytes_before_the_blob", "bytes -4096 to"),
        ("bytes_after_the_blob", "more bytes than there are"),
        ("a_program_as_a_picture", "its content type"),
        ("the_whole_blob_many_times", "more bytes than there are"),
        ("its_end_while_it_lives", "closed its channel and lives on"),
        ("deafness", "no result after"),
    ],
)
async def test_a_lie_ends_the_liar_and_its_job_and_nothing_else(
    liars: Callable[[str], None], lie: str, words: str
) -> None:
    liars(lie)
    async with started(timeout_s=5.0, options=OPTIONS) as pool:
        [pid] = pool.pids
        liars("")
        with pytest.raises((WorkerCrashed, WorkerTimeout), match=words):
            await process(pool, PHOTO)
        assert not psutil.pid_exists(pid)
        await until_alive(pool, 1)
        assert pool.deaths == 1
        assert (await process(pool, PHOTO)).report.width == 160


async def test_what_is_uploaded_does_not_change_while_its_worker_rewrites_it(
    liars: Callable[[str], None],
) -> None:
    liars("a_picture_that_changes")
    async with started(options=OPTIONS) as pool:
        [body] = (await process(pool, PHOTO)).bodies
        digests = set()
        for _ in range(20):
            digests.add(hashlib.sha256(body).digest())
            await asyncio.sleep(0.01)
    assert len(body) == liar.PICTURE_BYTES
    assert len(digests) == 1
    assert set(body) <= set(b"ab\0")


async def test_a_worker_cannot_cut_the_memory_that_the_supervisor_reads(liars: Callable[[str], None]) -> None:
    liars("a_smaller_blob")
    async with started(options=OPTIONS) as pool:
        assert (await process(pool, PHOTO)).bodies == (bytes(10),)
