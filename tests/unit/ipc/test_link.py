"""Messages between the master and a supervisor arrive whole, and end of file is the other side's death."""

from __future__ import annotations

import socket

import pytest

from fastproc.ipc import link
from fastproc.ipc.link import Ask, Serving, Stop, Told


async def ends() -> tuple[link.Link[link.FromSupervisor], link.Link[link.ToSupervisor]]:
    ours, theirs = link.pair()
    return await link.master_end(ours), await link.supervisor_end(theirs.detach())


async def test_messages_arrive_in_order_also_long_ones() -> None:
    master, supervisor = await ends()
    told = Told(False, {"status": "healthy"}, {"redis": True}, {}, b"x" * 3_000_000)
    for message in (Serving(), told):
        supervisor.send(message)
    assert [await master.receive(), await master.receive()] == [Serving(), told]
    for order in (Ask(), Stop(hurry=True)):
        master.send(order)
    assert [await supervisor.receive(), await supervisor.receive()] == [Ask(), Stop(hurry=True)]
    await supervisor.close()
    assert await master.receive() is None
    master.send(Ask())  # Nobody is there to hear it, which is no error.
    await master.close()


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x01\x01"])
async def test_what_is_no_message_is_an_error(garbage: bytes) -> None:
    ours, theirs = link.pair()
    master = await link.master_end(ours)
    theirs.send(garbage)
    with pytest.raises(ValueError, match=r"frame|MessagePack|Expected"):
        await master.receive()
    await master.close()
    theirs.close()


async def test_no_worker_inherits_a_supervisors_end() -> None:
    ours, theirs = link.pair()
    theirs.set_inheritable(True)
    supervisor = await link.supervisor_end(theirs.detach())
    end = supervisor._writer.get_extra_info("socket")
    assert not end.get_inheritable()
    assert end.type & socket.SOCK_STREAM
    await supervisor.close()
    ours.close()
