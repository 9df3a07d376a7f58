"""Shut a worker in: after this it can compute, and talk on its channel; it cannot open, connect, start or see anything.

The order matters: `begin` before anything is loaded, `before_threads` once all is imported and before libvips has
threads, `shut` when all has been tried once. What the parts are for:
  seccomp           an allow list of system calls, in every thread at once; the wall itself
  no new privileges, not dumpable   set-uid files give nothing; no ptrace, no core, /proc/PID closed to its own user
  Landlock          no path, no TCP, no abstract socket, no signal out: a second wall, where the kernel has it
  uid 65534         where the service runs as root and may change it; never root's files, were both walls to fall
  limits            memory, descriptors, file size 0, no locked memory, no message queues

Rule 1: `enforce` raises JailError where seccomp, no_new_privs, a limit or the empty environment is not to be had. The
        other parts are taken where they are to be had, and `missing` says what is not.
Rule 2: nobody believes it, it is tried: at the end a file must not open.
There is no RLIMIT_NPROC: it counts the threads of all the user's processes, other containers' among them.
"""

from __future__ import annotations

import errno
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from fastproc.core.model import Sandbox
from fastproc.worker.jail import kernel, landlock, seccomp

#: linux/capability.h: KILL, SETGID, SETUID. Without the first the supervisor could not end a worker of another user.
_TO_CHANGE_UID: Final = 1 << 5 | 1 << 6 | 1 << 7
NOBODY: Final = 65534
#: Its three, the channel, one for each lane, and two on the way: more is of no use but to hold memory.
DESCRIPTORS: Final = 32
#: What the kernel should take first when the machine is out of memory: this process, not the supervisor.
_OOM_SCORE: Final = 500
#: The main thread's stack, where it is not limited already: the limit on data does not count it.
_STACK_BYTES: Final = 64 << 20
#: Addresses for libraries, stacks and what malloc reserves, in no relation to memory used.
_ADDRESS_ROOM: Final = 2 << 30
#: Where the interpreter and the C library load from, besides the Python path.
_LIBRARIES: Final = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.prefix, sys.base_prefix)


class JailError(Exception):
    """A part of the jail that must be there is not to be had."""


class Jail:
    """One process' way into the jail. `words` says what is in force, `missing` what is not and why."""

    def __init__(self, sandbox: Sandbox, parent: int) -> None:
        self._sandbox, self._parent = sandbox, parent
        self._landlock, self._uid = 0, os.getuid()
        # Both cannot be seen any more when they are needed.
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._capabilities = _capabilities()
        self._in_force: list[str] = []
        self.missing: list[str] = []

    @property
    def words(self) -> str:
        """Such as `seccomp, landlock 7, uid 65534`."""
        return ", ".join([*self._in_force, f"uid {self._uid}"])

    def begin(self, memory_bytes: int, lane_bytes: int, environment: Iterable[str]) -> None:
        """First of all: what nothing that comes later needs. `environment`: the variables that may be there.

        Units: `memory_bytes` for all that it allocates, `lane_bytes` of addresses for shared memory.
        """
        die_with(self._parent)
        limit_memory(memory_bytes, lane_bytes)
        if self._sandbox == "off":
            self.missing.append("WORKER_SANDBOX is off")
            return
        extra = set(os.environ) - set(environment)
        self._must("an environment without secrets", lambda: _refuse_environment(extra))
        self._may("a place before the supervisor when memory runs out", _offer_to_oom)
        self._must("limits", _limit)
        self._must("no_new_privs", kernel.forbid_new_privileges)
        self._must("a process that cannot be traced", kernel.forbid_tracing)

    def before_threads(self, libraries: Iterable[str]) -> None:
        """Once all is imported: before ABI 8 Landlock holds the calling thread and those that it starts, no other.

        Reading below `libraries` and the system's stays allowed, for what is loaded late.
        """
        if self._sandbox != "off":
            self._may("Landlock", lambda: self._restrict([*libraries, *_LIBRARIES]))

    def shut(self, channel_fd: int) -> None:
        """When all has been tried: close the rest. Nothing but the channel and 0 to 2 stays open."""
        if self._sandbox == "off":
            return
        # A library that asks for a descriptor of its own now gets one that it can do nothing with.
        os.closerange(3, channel_fd)
        os.closerange(channel_fd + 1, max(self._descriptors, channel_fd + 1))
        if self._uid == 0:
            self._may("another user than root", self._become_nobody)
        if self._landlock:
            self._may("Landlock on every path", lambda: self._restrict([]))
            self._in_force.append(f"landlock {self._landlock}")
        self._must("seccomp", lambda: self._filter(channel_fd))

    def _filter(self, channel_fd: int) -> None:
        machine = platform.machine() if sys.maxsize > 1 << 32 else "32 bits"
        arch = seccomp.ARCHS.get(machine)
        if arch is None:
            raise OSError(f"there is no list of system calls for {machine}")
        program = seccomp.program(arch, channel_fd, os.getpid())
        kernel.load_filter(arch.numbers["seccomp"], program)
        try:
            os.close(os.open("/", os.O_RDONLY))
        except OSError as error:
            # Landlock would have said EACCES.
            if error.errno == errno.EPERM:
                self._in_force.insert(0, "seccomp")
                return
        raise OSError("the filter is loaded and does nothing")

    def _become_nobody(self) -> None:
        if self._capabilities & _TO_CHANGE_UID != _TO_CHANGE_UID:
            raise OSError("CAP_SETUID, CAP_SETGID and CAP_KILL are needed")
        os.setgroups([])
        # Through the C library, which changes every thread; all capabilities are gone with it.
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        self._uid = NOBODY
        # Both are forgotten when the user changes.
        die_with(self._parent)
        kernel.forbid_tracing()

    def _restrict(self, readable: list[str]) -> None:
        self._landlock = landlock.restrict(readable)

    def _must(self, part: str, take: Callable[[], None]) -> None:
        try:
            take()
        except (OSError, ValueError) as error:
            if self._sandbox == "enforce":
                raise JailError(f"WORKER_SANDBOX: {part} cannot be had: {error}") from None
            self.missing.append(f"{part}: {error}")

    def _may(self, part: str, take: Callable[[], None]) -> None:
        try:
            take()
        except OSError as error:
            self.missing.append(f"{part}: {error}")


def die_with(parent: int) -> None:
    """Be killed when the supervisor ends, however it ends. Raises OSError, also when it has ended already."""
    kernel.signal_when_parent_ends(signal.SIGKILL)
    # It may have ended before the call above: then the parent has changed, and no signal will come.
    if os.getppid() != parent:
        raise ProcessLookupError("the supervisor is gone")


def limit_memory(memory_bytes: int, lane_bytes: int) -> None:
    """Bound what is allocated (RLIMIT_DATA), and, far above, addresses of any kind (RLIMIT_AS).

    RLIMIT_AS alone would count shared memory, stacks and reserves, which come and go, as if they were the picture's.
    """
    _lower(resource.RLIMIT_DATA, memory_bytes)
    _lower(resource.RLIMIT_AS, memory_bytes + lane_bytes + _ADDRESS_ROOM)


def _limit() -> None:
    for limit in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_MSGQUEUE,
    ):
        _lower(limit, 0)
    _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
    _lower(resource.RLIMIT_STACK, _STACK_BYTES)


def _lower(limit: int, value: int) -> None:
    """Set both the limit and its ceiling; never higher than it was."""
    soft, hard = resource.getrlimit(limit)
    lowest = min((old for old in (value, soft, hard) if old != resource.RLIM_INFINITY), default=value)
    resource.setrlimit(limit, (lowest, lowest))


def _refuse_environment(extra: set[str]) -> None:
    if extra:
        raise OSError(f"it has {', '.join(sorted(extra))}")


def _offer_to_oom() -> None:
    Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
