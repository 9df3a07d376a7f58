"""Calls the kernel where Python has no function: prctl, seccomp, any system call by its number. All raise OSError."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
# linux/seccomp.h
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_TSYNC: Final = 1
#: sizeof(struct sock_filter), linux/filter.h
_INSTRUCTION_BYTES: Final = 8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call; bytes are passed by address."""
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def signal_when_parent_ends(number: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, number)


def forbid_new_privileges() -> None:
    """For this thread and those that it starts: set-uid files and file capabilities have no effect."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def forbid_tracing() -> None:
    """No ptrace, no core file, and /proc/PID belongs to root: "not dumpable"."""
    _prctl(_PR_SET_DUMPABLE, 0)


def load_filter(seccomp_number: int, program: bytes) -> None:
    """Set a seccomp filter for all threads at once."""
    instructions = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    given = struct.pack("@HP", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(instructions))
    thread = call(seccomp_number, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, given)
    if thread:
        raise OSError(f"thread {thread} has a filter of its own")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
