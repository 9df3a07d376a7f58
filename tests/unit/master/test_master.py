"""The master with processes of one line in place of supervisors: whom it starts, what it ends with."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from fastproc.core import restarts
from fastproc.core.acts import Set
from fastproc.core.control import Order
from fastproc.core.errors import FleetHalted
from fastproc.core.shares import Share
from fastproc.ipc.link import Kept
from fastproc.master import master
from fastproc.master.master import Master, Rules
from fastproc.terminal.exits import Exit

#: A supervisor that serves, and ends with the code that it is given when it is told to stop.
SERVING = """
import socket, sys
link = socket.socket(fileno=int(sys.argv[1]))
link.sendall(bytes.fromhex("0000000e81a474797065a773657276696e67"))
while (frame := link.recv(100)) and b"stop" not in frame: pass
sys.exit(int(sys.argv[2]))
"""
#: One that hears nothing.
DEAF = SERVING.replace("while (frame", "import time; time.sleep(60)\nwhile (frame")


def running(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-IS", "-c", program, *arguments]


class Led:
    """A master of supervisors that `program(share)` makes; `started` are their shares."""

    def __init__(self, program: str, supervisors: int = 2, grace_s: float = 5.0) -> None:
        self.program, self.started, self.end_with = program, [], "0"
        rules = Rules(supervisors=supervisors, grace_s=grace_s, host="127.0.0.1", port=0, log_s=0.0)
        self.master = Master(rules, self._command)

    def _command(self, fd: int, share: Share) -> list[str]:
        self.started.append(share)
        return running(self.program, str(fd), self.end_with)

    async def until(self, count: int, *, below: bool = False) -> None:
        for _ in range(2000):
            serving = self.master._restarts.serving
            if serving <= count if below else serving >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{self.master._restarts.serving} serve")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE_S", 0.01)


def test_the_causes_are_the_exit_codes_of_the_command_line() -> None:
    codes = {cause.name: code for code, cause in master._CAUSES.items()}
    assert codes == {
        "ASKED": Exit.OK,
        "CONFIG": Exit.CONFIG,
        "UNREACHABLE": Exit.UNREACHABLE,
        "HALTED": Exit.HALTED,
    }


@pytest.mark.parametrize("code", [Exit.CONFIG, Exit.UNREACHABLE, Exit.HALTED])
async def test_what_the_first_finds_at_its_start_ends_the_service_with_its_code(code: Exit) -> None:
    led = Led(f"raise SystemExit({code.value})", supervisors=3)
    assert await led.master.run() == code
    assert led.started == [Share(1, 3)]


async def test_one_that_keeps_dying_ends_the_service() -> None:
    led = Led("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(FleetHalted, match=r"supervisor 1 did not last 30 s 5 times in a row: SIGKILL"):
        await led.master.run()
    assert led.started == [Share(1, 2), *[Share(1, 2, again=True)] * 4]


async def test_all_are_told_to_stop_and_the_code_says_how_they_ended() -> None:
    led = Led(SERVING)
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    led.master.stop()
    assert await run == Exit.OK


async def test_one_that_ends_badly_at_the_stop_is_in_the_exit_code() -> None:
    led = Led(SERVING)
    led.end_with = "3"
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    led.master.stop()
    assert await run == 3


async def test_one_that_has_ended_at_a_stop_does_not_stand_still() -> None:
    led = Led(SERVING, grace_s=3600)
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    led.program = DEAF
    led.master._living[1].kill()
    await led.until(1, below=True)
    await led.until(2)
    led.master.stop()
    for _ in range(1000):
        if [*led.master._living] == [1]:
            break
        await asyncio.sleep(0.01)
    assert [*led.master._living] == [1]
    assert not run.done()
    led.master._living[1].kill()
    assert await run == Exit.HALTED


async def test_one_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master, "STOP_S", 0.2)
    led = Led(DEAF, grace_s=0.1)
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    led.master.stop()
    assert await run == Exit.HALTED


async def test_a_second_request_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master, "STOP_S", 0.2)
    led = Led(DEAF, grace_s=3600)
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    led.master.stop()
    await asyncio.sleep(0.3)
    assert not run.done()
    led.master.stop()
    assert await run == Exit.HALTED


async def test_one_that_ends_is_started_again_and_counted() -> None:
    led = Led(SERVING)
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    led.master._living[2].kill()
    await led.until(1, below=True)
    await led.until(2)
    assert led.started[2] == Share(2, 2, again=True)
    assert b"fastproc_supervisors_restarted_total 1.0" in await led.master._answers.metrics()
    led.master.stop()
    assert await run == Exit.OK


async def test_one_that_serves_and_does_not_answer_fails_the_health_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastproc.master.process.ANSWER_S", 0.1)
    led = Led(SERVING)
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    failing, body = await led.master._answers.health()
    assert (failing, body["status"]) == (True, "stuck")
    assert body["problems"] == ["supervisor 1 does not answer", "supervisor 2 does not answer"]
    led.master.stop()
    assert await run == Exit.OK


#: A supervisor that serves, tells of an order that it has obeyed when it is the first one, and writes down what it is
#: told.
OBEDIENT = """
import socket, sys
link = socket.socket(fileno=int(sys.argv[1]))
link.sendall(bytes.fromhex("0000000e81a474797065a773657276696e67"))
link.sendall(bytes.fromhex(sys.argv[3]))
while (frame := link.recv(4096)) and b"stop" not in frame:
    with open(sys.argv[4], "ab") as file: file.write(frame)
"""
#: It serves only when it has been told what was ordered before.
PATIENT = OBEDIENT.replace("link.sendall", "first = link.recv(4096)\nlink.sendall", 1).replace(
    "while (frame", "open(sys.argv[4], 'wb').write(first)\nwhile (frame"
)


async def test_one_that_is_started_again_is_told_what_was_ordered_before(tmp_path: Path) -> None:
    orders = [Order(act=Set(name="rate", value=value), at_ms=at) for value, at in (("7/s", 5), ("9/s", 4))]
    frames = b""
    for order in orders:
        data = msgspec.msgpack.encode(Kept((order,)))
        frames += len(data).to_bytes(4, "big") + data
    led, told = Led(OBEDIENT), tmp_path / "told"

    def command(fd: int, share: Share) -> list[str]:
        led.started.append(share)
        # The newest order holds, whichever came last.
        said = frames if share.number == 1 else b""
        program = PATIENT if share.again else OBEDIENT
        return running(program, str(fd), "0", said.hex(), str(told) + f"-{share.number}-{share.again}")

    led.master._command = command
    run = asyncio.create_task(led.master.run())
    await led.until(2)
    for _ in range(1000):
        if led.master._kept:
            break
        await asyncio.sleep(0.01)
    assert led.master._kept == (orders[0],)
    led.master._living[2].kill()
    await led.until(1, below=True)
    await led.until(2)
    again = tmp_path / "told-2-True"
    for _ in range(1000):
        if again.exists():
            break
        await asyncio.sleep(0.01)
    assert b"7/s" in again.read_bytes()
    assert b"9/s" not in again.read_bytes()
    # What came while it started is told when it serves.
    led.master._keep([Order(act=Set(name="rate", value="8/s"), at_ms=6)])
    led.master._served(2)
    for _ in range(1000):
        if b"8/s" in again.read_bytes():
            break
        await asyncio.sleep(0.01)
    assert b"8/s" in again.read_bytes()
    led.master.stop()
    assert await run == Exit.OK
