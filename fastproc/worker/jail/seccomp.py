"""The jail's list of system calls, as a program for the kernel: pure tables and functions; tests interpret the program.

Rule 1: a call that is not in a table ends the process (SIGSYS), so a forgotten call is not a hole. Numbers of the x32
        ABI have bit 30 set and are in no table either.
Rule 2: calls in REFUSED fail with EPERM: Python and C libraries make them after another failure, or can continue
        without an answer. So a lazy import is an exception and not a dead worker.
Rule 3: an argument is compared in its low 32 bits, which hold every flag and descriptor checked here.
Source: man 2 seccomp; linux/seccomp.h, linux/filter.h; numbers from asm/unistd_64.h and asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

from msgspec import Struct

# --- the tables

#: asm/unistd_64.h
_X86_64: Final = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16,
    "writev": 20, "access": 21, "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39,
    "socket": 41, "sendmsg": 46, "recvmsg": 47, "getsockname": 51, "getpeername": 52, "clone": 56, "exit": 60,
    "uname": 63, "fcntl": 72, "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98,
    "sysinfo": 99, "sigaltstack": 131, "prctl": 157, "gettid": 186, "time": 201, "futex": 202,
    "sched_getaffinity": 204, "getdents64": 217, "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230,
    "exit_group": 231, "tgkill": 234, "openat": 257, "newfstatat": 262, "readlinkat": 267, "faccessat": 269,
    "ppoll": 271, "set_robust_list": 273, "prlimit64": 302, "getcpu": 309, "sched_setattr": 314, "sched_getattr": 315,
    "seccomp": 317, "getrandom": 318, "membarrier": 324, "statx": 332, "rseq": 334, "clone3": 435, "faccessat2": 439,
    "futex_waitv": 449,
}  # fmt: skip

#: asm-generic/unistd.h, which aarch64 uses as it is.
_AARCH64: Final = {
    "getcwd": 17, "fcntl": 25, "ioctl": 29, "faccessat": 48, "openat": 56, "close": 57, "getdents64": 61, "lseek": 62,
    "read": 63, "write": 64, "writev": 66, "ppoll": 73, "readlinkat": 78, "newfstatat": 79, "fstat": 80, "exit": 93,
    "exit_group": 94, "futex": 98, "set_robust_list": 99, "nanosleep": 101, "clock_gettime": 113,
    "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128, "tgkill": 131,
    "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "uname": 160,
    "getrlimit": 163, "getrusage": 165, "prctl": 167, "getcpu": 168, "gettimeofday": 169, "getpid": 172, "gettid": 178,
    "sysinfo": 179, "socket": 198, "getsockname": 204, "getpeername": 205, "sendmsg": 211, "recvmsg": 212, "brk": 214,
    "munmap": 215, "mremap": 216, "clone": 220, "mmap": 222, "mprotect": 226, "madvise": 233, "prlimit64": 261,
    "sched_setattr": 274, "sched_getattr": 275, "seccomp": 277, "getrandom": 278, "membarrier": 283, "statx": 291,
    "rseq": 293, "clone3": 435, "faccessat2": 439, "futex_waitv": 449,
}  # fmt: skip


class Arch(Struct, frozen=True):
    """A machine's name for itself in the filter (linux/audit.h), and its numbers."""

    audit: int
    numbers: dict[str, int]


#: `platform.machine()` -> its filter name and numbers.
ARCHS: Final = {"x86_64": Arch(0xC000_003E, _X86_64), "aarch64": Arch(0xC000_00B7, _AARCH64)}

#: Computing, its own memory, threads, time, and open descriptors. The most frequent first.
ALLOWED: Final = (
    "futex", "read", "write", "munmap", "madvise", "rt_sigprocmask", "getpid", "brk", "mremap", "lseek", "close",
    "clock_gettime", "getrusage", "sched_yield", "sched_getaffinity", "set_robust_list", "rseq", "exit", "getrandom",
    "gettid", "getcpu", "nanosleep", "clock_nanosleep", "gettimeofday", "time", "poll", "ppoll", "fstat", "writev",
    "membarrier", "futex_waitv", "sigaltstack", "rt_sigreturn", "restart_syscall", "exit_group",
)  # fmt: skip

#: See rule 2.
REFUSED: Final = (
    "open", "openat", "stat", "lstat", "newfstatat", "statx", "readlink", "readlinkat", "access", "faccessat",
    "faccessat2", "getdents64", "getcwd", "ioctl", "rt_sigaction", "uname", "sysinfo", "socket", "getsockname",
    "getpeername", "getrlimit", "prlimit64", "sched_getattr", "sched_setattr",
)  # fmt: skip


class Check(Struct, frozen=True):
    """Argument `index`, masked, must (or must not) have this value."""

    index: int
    mask: int
    value: int
    equal: bool = True


_WHOLE: Final = 0xFFFF_FFFF
# asm-generic/mman-common.h, mman.h
_PROT_EXEC: Final = 0x4
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
#: SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE, STACK, FIXED_NOREPLACE: the flags that mmap may have. The limit on data
#: does not count memory with GROWSDOWN, LOCKED or HUGETLB.
_MAP_FLAGS: Final = 0x01 | 0x02 | 0x10 | 0x20 | 0x4000 | 0x20000 | 0x100000
# linux/sched.h: what pthread_create asks for (VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID,
# CHILD_CLEARTID), and DETACHED, which has no effect but musl sets it. Other flags would make a process or a namespace.
_THREAD_FLAGS: Final = 0x3D0F00
_CLONE_DETACHED: Final = 0x400000
_PR_SET_NAME: Final = 15
#: linux/fcntl.h; Python's mmap keeps a copy of the descriptor. F_SETOWN would send signals to other processes.
_F_DUPFD_CLOEXEC: Final = 1030


def checked(channel_fd: int, pid: int) -> dict[str, tuple[Check, ...]]:
    """Return the calls that are allowed if all their checks hold, and fail with EPERM if not."""
    channel = (Check(0, _WHOLE, channel_fd),)
    return {
        "mprotect": (Check(2, _PROT_EXEC, 0),),
        "mmap": (
            Check(2, _PROT_EXEC, 0),
            Check(3, _WHOLE & ~_MAP_FLAGS, 0),
            # The limit on data does not count shared memory without a file either.
            Check(3, _MAP_SHARED | _MAP_ANONYMOUS, _MAP_SHARED | _MAP_ANONYMOUS, equal=False),
        ),
        "recvmsg": channel,
        "sendmsg": channel,
        "clone": (Check(0, _WHOLE & ~_CLONE_DETACHED, _THREAD_FLAGS),),
        "fcntl": (Check(1, _WHOLE, _F_DUPFD_CLOEXEC),),
        "prctl": (Check(0, _WHOLE, _PR_SET_NAME),),
        # abort() and raise(): its own threads.
        "tgkill": (Check(0, _WHOLE, pid),),
    }


# --- the program

# linux/bpf_common.h: load a word of seccomp_data, mask it, compare it, return.
_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
# linux/seccomp.h
ALLOW: Final = 0x7FFF_0000
KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
REFUSE: Final = _ERRNO | errno.EPERM
#: A filter cannot read clone3's flags, which are behind a pointer. With ENOSYS glibc falls back to clone.
NO_SUCH_CALL: Final = _ERRNO | errno.ENOSYS
# Offsets in struct seccomp_data { int nr; u32 arch; u64 ip; u64 args[6] }; both machines are little-endian.
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

#: code, jump if true, jump if false, operand: struct sock_filter.
Instruction = tuple[int, int, int, int]


def program(arch: Arch, channel_fd: int, pid: int) -> bytes:
    """Return the filter, as an array of struct sock_filter."""
    checks = checked(channel_fd, pid)
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch.audit),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    bodies: list[tuple[str, list[Instruction]]] = [
        *((name, _checks(checks[name])) for name in checks),
        *((name, [(_RETURN, 0, 0, ALLOW)]) for name in ALLOWED),
        *((name, [(_RETURN, 0, 0, REFUSE)]) for name in REFUSED),
        ("clone3", [(_RETURN, 0, 0, NO_SUCH_CALL)]),
    ]
    for name, body in bodies:
        if name in arch.numbers:
            code += [(_EQUAL, 0, len(body), arch.numbers[name]), *body]
    code.append((_RETURN, 0, 0, KILL_PROCESS))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _checks(checks: tuple[Check, ...]) -> list[Instruction]:
    """Three instructions for each check, of which the last jumps to the refusal at the end or goes on."""
    body: list[Instruction] = []
    for position, check in enumerate(checks):
        to_refusal = 3 * (len(checks) - position - 1) + 1
        jumps = (0, to_refusal) if check.equal else (to_refusal, 0)
        body += [
            (_LOAD, 0, 0, _ARGUMENTS + 8 * check.index),
            (_AND, 0, 0, check.mask),
            (_EQUAL, *jumps, check.value),
        ]
    return [*body, (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, REFUSE)]
