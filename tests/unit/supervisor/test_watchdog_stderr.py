"""The stack of a loop that stands still, where nobody reads stderr: faulthandler's thread must not hold the loop up."""

from __future__ import annotations

import os
import subprocess
import sys

#: A pipe that is full. Where the write waits, the cancellation waits for it, with the interpreter's lock.
PROGRAM = """
import faulthandler, os, time
from fastproc.supervisor.watchdog import _without_waits
read, write = os.pipe()
os.set_blocking(write, False)
try:
    while True: os.write(write, bytes(4096))
except BlockingIOError: os.set_blocking(write, True)
with _without_waits(write) as told:
    faulthandler.dump_traceback_later(0.02, file=told)
    time.sleep(0.2)
    faulthandler.cancel_dump_traceback_later()
assert os.get_blocking(write)
"""


def test_a_full_stderr_does_not_hold_up_who_watches() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=dict(os.environ), timeout=40, check=False)
    assert ended.returncode == 0
