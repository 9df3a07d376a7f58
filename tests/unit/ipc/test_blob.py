"""Shared memory: the seals hold, lanes are recycled, and a new worker has none of the old one's mappings."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fastproc.ipc import blob
from fastproc.ipc.blob import RECYCLE_BYTES, Blob, Lanes, SlotLanes
from fastproc.ipc.messages import OUTPUT_LANE

PAGE = mmap.PAGESIZE
SIZE = 4 * PAGE
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def source() -> Iterator[Blob]:
    made = Blob("test-source", SIZE, source=True)
    yield made
    made.close()


@pytest.fixture
def output() -> Iterator[Blob]:
    made = Blob("test-output", SIZE, source=False)
    yield made
    made.close()


@pytest.fixture
def lanes() -> Iterator[SlotLanes]:
    made = SlotLanes(3, source_bytes=SIZE, output_bytes=SIZE)
    yield made
    made.close()


def raw_errno(result: int) -> int:
    return ctypes.get_errno() if result == -1 else 0


@pytest.mark.parametrize("kind", ["source", "output"])
@pytest.mark.parametrize("size", [0, PAGE, SIZE - 1, SIZE + 1, 2 * SIZE])
def test_nobody_can_shrink_or_grow_a_blob(kind: str, size: int, request: pytest.FixtureRequest) -> None:
    made: Blob = request.getfixturevalue(kind)
    with pytest.raises(PermissionError):
        os.ftruncate(made.fd, size)
    assert os.fstat(made.fd).st_size == SIZE


@pytest.mark.parametrize("kind", ["source", "output"])
def test_no_seal_can_be_added_or_holes_punched_where_a_supervisor_reads(
    kind: str, request: pytest.FixtureRequest
) -> None:
    made: Blob = request.getfixturevalue(kind)
    f_add_seals, f_seal_write = 1033, 8
    assert raw_errno(_libc.fcntl(made.fd, f_add_seals, f_seal_write)) == errno.EPERM


def test_a_source_cannot_be_written_by_whoever_has_its_descriptor(source: Blob) -> None:
    source.view[:4] = b"true"
    with pytest.raises(PermissionError):
        os.pwrite(source.fd, b"lies", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(source.fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    keep_size_punch_hole = 3
    assert raw_errno(_libc.fallocate(source.fd, keep_size_punch_hole, 0, PAGE)) == errno.EPERM
    assert bytes(source.view[:4]) == b"true"


def test_a_source_mapped_for_reading_cannot_be_made_writable_later(source: Blob) -> None:
    prot_read, prot_write = 1, 2
    _libc.mmap.restype = ctypes.c_void_p
    _libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    _libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    _libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    address = _libc.mmap(None, SIZE, prot_read, mmap.MAP_SHARED, source.fd, 0)
    assert raw_errno(_libc.mprotect(address, SIZE, prot_read | prot_write)) == errno.EACCES
    _libc.munmap(address, SIZE)


HOSTILE = """
import mmap, os, sys
fd, size = int(sys.argv[1]), int(sys.argv[2])
def refused(attempt):
    try:
        attempt()
    except PermissionError:
        return True
    return False
again = lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
attempts = (
    lambda: os.pwrite(fd, b"lies", 0),
    lambda: os.pwrite(again(), b"lies", 0),
    lambda: mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    lambda: mmap.mmap(again(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    lambda: os.ftruncate(fd, 0),
    lambda: os.ftruncate(again(), 2 * size),
)
print([number for number, attempt in enumerate(attempts) if not refused(attempt)], os.pread(fd, 4, 0))
"""


def test_a_process_that_is_given_the_descriptor_can_read_a_source_and_nothing_else(source: Blob) -> None:
    source.view[:4] = b"true"
    child = [sys.executable, "-I", "-c", HOSTILE, str(source.fd), str(SIZE)]
    found = subprocess.run(child, pass_fds=[source.fd], capture_output=True, text=True, check=True)
    assert found.stdout == "[] b'true'\n"
    assert bytes(source.view[:4]) == b"true"


def test_the_supervisor_writes_a_source_and_its_reader_sees_it(source: Blob) -> None:
    with mmap.mmap(source.fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ) as reader:
        source.view[10:15] = b"photo"
        assert reader[10:15] == b"photo"


def test_an_output_is_written_by_its_worker_and_only_read_here(output: Blob) -> None:
    with mmap.mmap(output.fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as writer:
        writer[:4] = b"made"
        assert bytes(output.view[:4]) == b"made"
    assert output.view.readonly


def test_a_blob_is_not_inherited(source: Blob) -> None:
    assert not os.get_inheritable(source.fd)


# --- lanes


def test_lanes_are_numbered_from_one_and_the_output_is_lane_zero(lanes: SlotLanes) -> None:
    assert lanes.output.number == OUTPUT_LANE == 0
    assert [lanes.lend().number for _ in range(3)] == [1, 2, 3]
    assert lanes.lent == 3


def test_a_lane_that_came_back_is_lent_again_the_last_one_first(lanes: SlotLanes) -> None:
    first, second = lanes.lend(), lanes.lend()
    lanes.take_back(first, 10)
    lanes.take_back(second, 10)
    assert lanes.lent == 0
    assert lanes.lend() is second
    assert lanes.lend() is first
    assert lanes.lend().number == 3


def test_no_number_is_given_twice_whatever_comes_back(lanes: SlotLanes) -> None:
    held = [lanes.lend() for _ in range(4)]
    lanes.take_back(held.pop(1), 1)
    held += [lanes.lend(), lanes.lend()]
    assert sorted(lane.number for lane in held) == [1, 2, 3, 4, 5]


def test_recycling_makes_no_new_memory(lanes: SlotLanes) -> None:
    seen = []
    for _ in range(20):
        lane = lanes.lend()
        seen.append(lane.blob)
        lanes.take_back(lane, RECYCLE_BYTES)
    assert all(each is seen[0] for each in seen)


def test_a_lane_that_held_a_giant_gets_new_memory_and_is_fresh_again(lanes: SlotLanes) -> None:
    lane = lanes.lend()
    lanes.deliver(lane)
    old = lane.blob
    lanes.take_back(lane, RECYCLE_BYTES + 1)
    again = lanes.lend()
    assert again.blob is not old
    assert again.fresh
    assert again.number == 1


def test_an_output_that_held_a_giant_is_renewed(lanes: SlotLanes) -> None:
    lane, old = lanes.lend(), lanes.output.blob
    lanes.deliver(lane)
    lanes.renew_output(RECYCLE_BYTES)
    assert lanes.output.blob is old
    lanes.renew_output(RECYCLE_BYTES + 1)
    assert lanes.output.blob is not old
    assert lanes.deliver(lane) == [lanes.output]


def test_a_descriptor_is_delivered_once_to_each_worker(lanes: SlotLanes) -> None:
    first, second = lanes.lend(), lanes.lend()
    assert lanes.deliver(first) == [lanes.output, first]
    assert lanes.deliver(first) == []
    assert lanes.deliver(second) == [second]
    lanes.take_back(second, 1)
    lanes.forget_worker()
    assert lanes.deliver(first) == [lanes.output, first]
    assert lanes.deliver(lanes.lend()) == [second]


def test_closing_closes_every_descriptor_lent_or_free() -> None:
    before = set(os.listdir("/proc/self/fd"))
    made = SlotLanes(0, source_bytes=SIZE, output_bytes=SIZE)
    made.take_back(made.lend(), 1)
    made.lend()
    made.lend()
    made.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_blob_whose_view_is_in_use_is_not_unmapped() -> None:
    made = Blob("test", SIZE, source=True)
    part = made.view[:4]
    with pytest.raises(BufferError):
        made.close()
    part.release()
    made.close()


# --- the worker's side


def unmap(worker: Lanes) -> None:
    for mapping in worker._maps.values():
        mapping.close()


def test_a_worker_reads_sources_and_writes_its_output(lanes: SlotLanes) -> None:
    worker, lane = Lanes(), lanes.lend()
    lane.blob.view[:5] = b"photo"
    fresh = lanes.deliver(lane)
    worker.accept([each.number for each in fresh], [os.dup(each.blob.fd) for each in fresh])
    with worker.source(lane.number, 5) as source, worker.output() as output:
        assert bytes(source) == b"photo"
        assert source.readonly
        assert len(output) == SIZE
        output[:4] = b"made"
    assert bytes(lanes.output.blob.view[:4]) == b"made"
    unmap(worker)


def test_a_worker_maps_a_lane_anew_when_it_gets_its_descriptor_again(lanes: SlotLanes) -> None:
    worker, lane = Lanes(), lanes.lend()
    worker.accept([1], [os.dup(lane.blob.fd)])
    lanes.take_back(lane, RECYCLE_BYTES + 1)
    lane = lanes.lend()
    lane.blob.view[:3] = b"new"
    worker.accept([1], [os.dup(lane.blob.fd)])
    with worker.source(1, 3) as source:
        assert bytes(source) == b"new"
    unmap(worker)


def test_descriptors_that_do_not_match_their_lanes_are_refused_and_closed(lanes: SlotLanes) -> None:
    fds = [os.dup(lanes.output.blob.fd) for _ in range(2)]
    with pytest.raises(ValueError, match="2 descriptors for 1 lanes"):
        Lanes().accept([1], fds)
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_lane_that_was_never_accepted_is_an_error() -> None:
    with pytest.raises(KeyError):
        Lanes().source(1, 1)
    with pytest.raises(KeyError):
        Lanes().output()


def test_the_constant_is_the_kernels() -> None:
    assert blob.F_SEAL_FUTURE_WRITE == 0x10
