"""Scripts that the server has forgotten: what nobody waits for is sent again, and progress does not go back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fastproc.bullmq import scripts
from fastproc.bullmq.calls import ScriptCalls
from fastproc.bullmq.client import greeting
from fastproc.bullmq.marks import MAX_MARKS, SCRIPT
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from tests.unit.bullmq.fake_redis import Command, FakeRedis


class Forgetful(FakeRedis):
    """Knows no script until one is loaded; what ran is in `ran`, by the last argument of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.ran: list[str] = []
        self.knows = False
        self.answer = self.script

    def script(self, command: Command) -> bytes:
        if command[0] == b"SCRIPT":
            self.knows = True
            return b"$3\r\nsha\r\n"
        self.asked.append(command[-1].decode())
        if not self.knows:
            return b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
        self.ran.append(command[-1].decode())
        return b":0\r\n"


@pytest.fixture
async def server() -> AsyncIterator[Forgetful]:
    made = Forgetful()
    async with made.listening():
        yield made


@pytest.fixture
async def calls(server: Forgetful) -> AsyncIterator[ScriptCalls]:
    pipe = Pipe(server.connect)
    await pipe.open()
    yield ScriptCalls(pipe, Keys("bull", "q"), scripts.load())
    await pipe.close()


async def until_ran(server: Forgetful, *what: str) -> None:
    async with asyncio.timeout(5):
        while server.ran[-len(what) :] != list(what):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)


async def test_what_nobody_waits_for_is_sent_again(calls: ScriptCalls, server: Forgetful) -> None:
    calls.marks.add_log("7", "a row", 5)
    await until_ran(server, "5")
    assert server.asked == ["5", "5"]


async def test_several_calls_of_one_batch_are_sent_again_in_their_order(
    calls: ScriptCalls, server: Forgetful
) -> None:
    for number in range(3 * MAX_MARKS + 1):
        calls.marks.progress("7", str(number))
    await until_ran(server, str(3 * MAX_MARKS))
    assert server.ran == [str(each * MAX_MARKS - 1) for each in (1, 2, 3)] + [str(3 * MAX_MARKS)]


async def test_a_call_that_fails_after_a_later_one_was_sent_is_not_sent_behind_it(
    calls: ScriptCalls, server: Forgetful
) -> None:
    def meanwhile(command: Command) -> bytes:
        if command[-1] in (b"10", b"25") and command[-1].decode() not in server.asked:
            later = {b"10": "25", b"25": "35"}[command[-1]]
            calls.marks.progress("7", later)
        return server.script(command)

    server.answer = meanwhile
    calls.marks.progress("7", "10")
    await until_ran(server, "35")
    assert server.ran == ["10", "25", "35"]


async def test_nothing_is_kept_of_calls_that_were_answered(calls: ScriptCalls, server: Forgetful) -> None:
    for percent in range(5):
        calls.marks.progress("7", str(percent))
        await until_ran(server, str(percent))
    assert (calls._loading, calls._again, calls._held) == (False, [], [])


async def test_marks_are_sent_before_what_is_called_later_and_after_what_was_called_before(
    calls: ScriptCalls, server: Forgetful
) -> None:
    server.knows = True
    calls.marks.progress("7", "10")
    first = asyncio.ensure_future(calls.run("extendLocks", ["first"]))
    await asyncio.sleep(0)
    calls.marks.progress("7", "25")
    await calls.run("extendLocks", ["second"])
    await first
    assert server.ran == ["10", "first", "25", "second"]


async def test_marks_of_several_jobs_travel_in_one_call(calls: ScriptCalls, server: Forgetful) -> None:
    server.knows = True
    for job_id, percent in (("7", "10"), ("8", "10"), ("7", "25")):
        calls.marks.progress(job_id, percent)
    calls.marks.add_log("8", "a row", None)
    calls.marks.progress("7", "35")
    await until_ran(server, "35")
    [command] = server.commands
    assert command[2:] == [
        b"6", b"bull:q:events", b"bull:q:meta", b"bull:q:7", b"bull:q:7:logs", b"bull:q:8", b"bull:q:8:logs",
        b"3", b"10", b"5", b"10", b"3", b"25", b"6", b"a row", b"", b"3", b"35",
    ]  # fmt: skip


def test_what_is_loaded_is_what_is_called() -> None:
    commands = scripts.load()
    loaded = [each[2] for each in greeting(commands)]
    others = {"updateProgress", "addLog", "reprocessJob", "pause", "drain"}
    called = [script.source for name, script in commands.items() if name not in others]
    assert loaded == [*called, SCRIPT]
