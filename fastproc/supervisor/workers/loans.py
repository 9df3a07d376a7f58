"""Who owns shared memory: lanes lent to jobs, carried from slot to slot, shown to workers, taken back.

Rule 1: a lane belongs to one loan from `lend` to `take_back`, whatever becomes of the job or of the worker.
Rule 2: a photo is copied only where it changes its slot: a worker sees the photos of its own slot alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

from fastproc.ipc.blob import Lane, SlotLanes

#: Room for renditions beyond the source's size: an optimised copy is smaller than it, thumbnails are small.
OUTPUT_HEADROOM_BYTES = 16 << 20


class Loan:
    """A source lane on loan to one job: write the photo into `target`, set `size`, then run it.

    `slot` is where the photo lies now; `target` is as long as the largest photo allowed; `photo` is its id.
    """

    def __init__(self, slot: int, lane: Lane, max_bytes: int) -> None:
        self.slot, self.lane = slot, lane
        self.target = lane.blob.view[:max_bytes]
        self.size = 0
        self.photo = ""


class Loans:
    """The lanes of all slots, and who has them."""

    def __init__(self, slots: int, max_source_bytes: int) -> None:
        """Raises OSError when the kernel has no memory or no descriptors."""
        self._max_bytes = max_source_bytes
        self._lanes: list[SlotLanes] = []
        #: Called when a photo is on its way.
        self.on_lend: Callable[[], None] = lambda: None
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.open(range(slots))
            undo.pop_all()

    def open(self, slots: Iterable[int]) -> None:
        """Have lanes for these slots. Raises OSError, with nothing changed."""
        with contextlib.ExitStack() as undo:
            fresh = {}
            for slot in slots:
                if slot >= len(self._lanes) or self._lanes[slot].closed:
                    fresh[slot] = self._slot_lanes(slot)
                    undo.callback(fresh[slot].close)
            undo.pop_all()
        for slot, lanes in sorted(fresh.items()):
            self._lanes[slot : slot + 1] = [lanes]

    def free(self, slot: int) -> None:
        """Free the memory of a slot that has no process, unless a photo lies there."""
        if not self._lanes[slot].lent:
            self._lanes[slot].close()

    @property
    def lent(self) -> list[int]:
        """How many photos lie in each slot."""
        return [lanes.lent for lanes in self._lanes]

    def lend(self, slot: int, photo: str = "") -> Loan:
        """Lend a lane of the slot. Raises OSError."""
        loan = Loan(slot, self._lanes[slot].lend(), self._max_bytes)
        loan.photo = photo
        self.on_lend()
        return loan

    def take_back(self, loan: Loan) -> None:
        """End the loan; its memory is lent again."""
        loan.target.release()
        self._lanes[loan.slot].take_back(loan.lane, loan.size)

    def carry(self, loan: Loan, slot: int) -> None:
        """Copy the photo into a lane of another slot, give the old lane back. Raises OSError, with nothing changed."""
        there = self.lend(slot)
        there.target[: loan.size] = loan.target[: loan.size]
        left = Loan(loan.slot, loan.lane, self._max_bytes)
        left.size = loan.size
        loan.target.release()
        loan.slot, loan.lane, loan.target = there.slot, there.lane, there.target
        self.take_back(left)

    def show(self, loan: Loan) -> Sequence[Lane]:
        """Return the lanes that the slot's worker needs for this photo and has not mapped yet; then it has."""
        return self._lanes[loan.slot].deliver(loan.lane)

    def output(self, slot: int) -> memoryview:
        """What the slot's worker has written: all of the output lane."""
        return self._lanes[slot].output.blob.view

    def renew_output(self, slot: int, used_bytes: int) -> None:
        """Replace the output lane's memory where it held a giant, as soon as the kernel has new memory for it."""
        self._lanes[slot].renew_output(used_bytes)

    def forget_worker(self, slot: int) -> None:
        """The slot gets a new process, which has no mappings."""
        self._lanes[slot].forget_worker()

    def _slot_lanes(self, slot: int) -> SlotLanes:
        output_bytes = self._max_bytes + OUTPUT_HEADROOM_BYTES
        return SlotLanes(slot, source_bytes=self._max_bytes, output_bytes=output_bytes)

    def close(self) -> None:
        """Free all memory."""
        for lanes in self._lanes:
            lanes.close()
