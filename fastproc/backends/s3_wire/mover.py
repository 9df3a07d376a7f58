"""The thread that moves the bytes of all transfers, so that the loop's thread need not: only their ends reach the loop.

Copying and TLS happen in system calls and in OpenSSL, where Python lets other threads run. The thread never waits for
one connection: it asks the kernel (epoll) which of them are ready.

Rule 1: `stop` returns when nothing is moved for that transfer any more, and nothing will be.
Rule 2: the loop hears of all transfers that ended in one round in one call.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading

from fastproc.backends.s3_wire.transfers import Transfer


class Mover:
    """Moves the transfers of one event loop."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._moving: dict[int, Transfer] = {}
        self._epoll = select.epoll()
        try:
            self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError:
            self._epoll.close()
            raise
        self._epoll.register(self._bell, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="fastproc-s3", daemon=True)
        self._thread.start()

    def start(self, transfer: Transfer) -> asyncio.Future[None]:
        """Begin a transfer; the future is done at its end, whatever came of it. Raises OSError."""
        transfer.ended = self._loop.create_future()
        self._moving[transfer.fd] = transfer
        try:
            self._epoll.register(transfer.fd, transfer.wants)
        except BaseException:
            del self._moving[transfer.fd]
            raise
        return transfer.ended

    def stop(self, transfer: Transfer) -> None:
        """Nothing is moved for it any more. Idempotent."""
        with transfer.lock:
            self._end(transfer)

    def close(self) -> None:
        """End the thread. No transfer may be under way."""
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        self._epoll.close()
        os.close(self._bell)

    def _end(self, transfer: Transfer) -> None:
        if not transfer.is_over:
            transfer.is_over = True
            self._epoll.unregister(transfer.fd)
            del self._moving[transfer.fd]
            transfer.let_go()

    def _run(self) -> None:
        while True:
            ended = []
            for fd, events in self._epoll.poll():
                if fd == self._bell:
                    return
                transfer = self._moving.get(fd)
                if transfer is not None and self._has_ended(transfer, events):
                    ended.append(transfer.ended)
            # Not kept until the next round, which may be far: it refers to the caller's memory.
            transfer = None
            if ended:
                try:
                    self._loop.call_soon_threadsafe(_tell, ended)
                except RuntimeError:
                    return  # The loop is closed: nobody waits.

    def _has_ended(self, transfer: Transfer, events: int) -> bool:
        with transfer.lock:
            if transfer.is_over:
                return False
            wanted = transfer.wants
            if not transfer.step(events):
                try:
                    if transfer.wants != wanted:
                        self._epoll.modify(transfer.fd, transfer.wants)
                    return False
                except OSError as error:  # The others go on.
                    transfer.error = error
            self._end(transfer)
            return True


def _tell(ended: list[asyncio.Future[None]]) -> None:
    for each in ended:
        if not each.done():
            each.set_result(None)
