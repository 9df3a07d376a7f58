"""Shared memory: created, sealed, lent, recycled. This file does not know what the bytes mean.

Rule 1: a blob is a memfd that cannot shrink or grow: a reader of a truncated mapping is killed by SIGBUS.
Rule 2: only the supervisor's mapping can write to a source blob (F_SEAL_FUTURE_WRITE, set after it was mapped).
Rule 3: a blob belongs to one worker slot until it is closed: a worker sees only photos that its slot was given.
Rule 4: blobs are recycled: staging 3 MB costs 0.09 ms in a used blob and 3.9 ms in a fresh one (tuning.md, "lanes").
        Only the blob of a giant photo is replaced (RECYCLE_BYTES).
Rule 5: what takes memory back never fails: where the kernel refuses a new blob, the old one stays, or the lane has none
        until it is lent again. Only `lend` needs the kernel.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Sequence

from fastproc.ipc.messages import OUTPUT_LANE

# linux/fcntl.h; Python 3.11 has names for all but F_SEAL_FUTURE_WRITE.
F_SEAL_FUTURE_WRITE = 0x10
_FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

#: A blob that held more than this is replaced after use, so that one giant photo does not keep its memory without end.
RECYCLE_BYTES = 16 << 20


class Blob:
    """One memfd with the supervisor's mapping. Untouched pages take no memory, so the capacity may be large."""

    def __init__(self, name: str, capacity: int, *, source: bool) -> None:
        """A `source` is written here and read by the worker; an output the reverse. Raises OSError."""
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self.fd)
            os.ftruncate(self.fd, capacity)
            access = mmap.PROT_READ | mmap.PROT_WRITE if source else mmap.PROT_READ
            self._map = mmap.mmap(self.fd, capacity, mmap.MAP_SHARED, access)
            undo.callback(self._map.close)
            seals = _FIXED_SIZE | fcntl.F_SEAL_SEAL | (F_SEAL_FUTURE_WRITE if source else 0)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
            undo.pop_all()
        self.view = memoryview(self._map)

    def close(self) -> None:
        """Unmap, close; the memory is free once the worker unmaps it too. Raises BufferError if the view is used."""
        self.view.release()
        self._map.close()
        os.close(self.fd)


class Lane:
    """A blob's place in a slot: `number` is its name in messages; it is `fresh` until the worker has been sent it."""

    def __init__(self, number: int, blob: Blob) -> None:
        self.number = number
        self.blob = blob
        self.fresh = True


class SlotLanes:
    """The lanes of one worker slot: one for the output, and as many recycled ones for sources as are needed."""

    def __init__(self, slot: int, *, source_bytes: int, output_bytes: int) -> None:
        """Capacities in bytes, for each blob. Raises OSError."""
        self._slot = slot
        self._source_bytes, self._output_bytes = source_bytes, output_bytes
        self.output = Lane(OUTPUT_LANE, self._output_blob())
        self._output_is_spent = False
        self._free: list[Lane] = []
        self._lent: list[Lane] = []
        # Numbers of lanes whose blob held a giant and is closed.
        self._empty: list[int] = []
        self.closed = False

    def lend(self) -> Lane:
        """Return a free source lane. Raises OSError, with nothing changed.

        One that held a giant comes first: its worker unmaps the giant when it gets the new blob. Then the most
        recently used one: its pages are warm.
        """
        if self._empty:
            lane = Lane(self._empty[-1], self._source_blob())
            self._empty.pop()
        elif self._free:
            lane = self._free.pop()
        else:
            lane = Lane(len(self._lent) + 1, self._source_blob())
        self._lent.append(lane)
        return lane

    @property
    def lent(self) -> int:
        """How many source lanes are in use."""
        return len(self._lent)

    def take_back(self, lane: Lane, used_bytes: int) -> None:
        """Recycle the lane; one that held a giant has no blob until it is lent again."""
        self._lent.remove(lane)
        if used_bytes > RECYCLE_BYTES:
            lane.blob.close()
            self._empty.append(lane.number)
        else:
            self._free.append(lane)

    def renew_output(self, used_bytes: int) -> None:
        """Replace the output blob if it held a giant; where the kernel refuses, that is tried at the next call."""
        self._output_is_spent |= used_bytes > RECYCLE_BYTES
        if self._output_is_spent:
            with contextlib.suppress(OSError):
                new = self._output_blob()
                self.output.blob.close()
                self.output.blob, self.output.fresh, self._output_is_spent = new, True, False

    def deliver(self, lane: Lane) -> list[Lane]:
        """Return the lanes whose descriptors must be sent with a task in `lane`, and mark them as not fresh."""
        fresh = [each for each in (self.output, lane) if each.fresh]
        for each in fresh:
            each.fresh = False
        return fresh

    def forget_worker(self) -> None:
        """Mark every lane as fresh: a new process has no mappings."""
        for lane in (self.output, *self._free, *self._lent):
            lane.fresh = True

    def close(self) -> None:
        """Free all memory of the slot. Idempotent."""
        if self.closed:
            return
        self.closed = True
        for lane in (self.output, *self._free, *self._lent):
            lane.blob.close()
        self._free, self._lent, self._empty = [], [], []

    def _source_blob(self) -> Blob:
        return Blob(f"fastproc-source-{self._slot}", self._source_bytes, source=True)

    def _output_blob(self) -> Blob:
        return Blob(f"fastproc-output-{self._slot}", self._output_bytes, source=False)


class Lanes:
    """The worker's side: mappings by lane number."""

    def __init__(self) -> None:
        self._maps: dict[int, mmap.mmap] = {}

    def accept(self, fresh: Sequence[int], fds: Sequence[int]) -> None:
        """Map descriptors by lane number and close them. Raises OSError; ValueError if their numbers differ."""
        try:
            if len(fresh) != len(fds):
                raise ValueError(f"{len(fds)} descriptors for {len(fresh)} lanes")
            for number, fd in zip(fresh, fds, strict=True):
                access = mmap.PROT_READ | (mmap.PROT_WRITE if number == OUTPUT_LANE else 0)
                # Not fstat: C libraries make it a call with a path, which the jail refuses.
                self._maps[number] = mmap.mmap(fd, os.lseek(fd, 0, os.SEEK_END), mmap.MAP_SHARED, access)
        finally:
            for fd in fds:
                os.close(fd)

    def source(self, lane: int, size: int) -> memoryview:
        """Return the first `size` bytes of a source lane, read-only. Raises KeyError for a lane never accepted."""
        return memoryview(self._maps[lane])[:size]

    def output(self) -> memoryview:
        """Return the whole output lane, writable. Raises KeyError before the first task."""
        return memoryview(self._maps[OUTPUT_LANE])
