"""Shut a worker in: after this it can compute, and talk on its channel; it cannot open, connect, start or see anything.

The order matters: `begin` first, when modules are imported but nothing has been tried and the process has one thread;
`before_threads` once the stages are loaded, before libvips starts threads; `shut` when everything has been tried once.
What the parts are for:
  seccomp           an allow list of system calls, for every thread at once: the main wall
  no new privileges, not dumpable   set-uid files have no effect; no ptrace, no core, /proc/PID closed to its own user
  Landlock          no path, no TCP, no abstract socket, no signals to others: a second wall, where the kernel has it
  a uid of its own  where the service runs as root and may change it: no access to root's files, should both walls fall
  limits            memory, descriptors, file size 0, no locked memory, no message queues; threads, with the uid

Rule 1: `enforce` raises JailError if seccomp, no_new_privs, "not dumpable", a limit or the clean environment is not
        available. The other parts are used where they are available; `missing` lists those that are not, and why.
Rule 2: the limits on memory and the death with the supervisor hold in every mode, `off` included.
Rule 3: the filter is tested, not assumed: after it is loaded, opening a file must fail.
Rule 4: RLIMIT_NPROC counts the threads of all the user's processes, including those in other containers: it is set
        where the worker has a uid that no other process has. The filter cannot refuse threads: the decoders of WebP,
        HEIC and AVIF start some for each photo. Elsewhere the supervisor kills a worker that has too many
        (`supervisor.workers.roster`).
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

#: linux/capability.h: KILL, SETGID, SETUID. Without KILL the supervisor could not end a worker of another user.
_TO_CHANGE_UID: Final = 1 << 5 | 1 << 6 | 1 << 7
NOBODY: Final = 65534
#: Uids of workers: 2^30 of them, beyond those of people, systems and containers, by chance: none is used twice.
_OWN_UIDS: Final = 0x4000_0000
#: A worker has 4 to 8 threads; a decoder may start one for each core.
THREADS: Final = 256
#: The standard three, the channel, one for each lane, two in transit. More would only help to hold memory.
DESCRIPTORS: Final = 32
#: The kernel should kill this process first when the machine is out of memory, not the supervisor.
_OOM_SCORE: Final = 500
#: Limit of the main thread's stack, unless it is lower already: the limit on data does not count it.
_STACK_BYTES: Final = 64 << 20
#: Addresses for libraries, stacks and what malloc reserves: unrelated to the memory that is used.
_ADDRESS_ROOM: Final = 2 << 30
#: Where the interpreter and the C library load from, besides the Python path.
_LIBRARIES: Final = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.prefix, sys.base_prefix)


class JailError(Exception):
    """A required part of the jail is not available."""


class Jail:
    """Shuts one process in. `description` says what is in force, `missing` what is not, and why."""

    def __init__(self, sandbox: Sandbox, parent: int) -> None:
        self._sandbox, self._parent = sandbox, parent
        self._landlock, self._uid = 0, os.getuid()
        # Neither can be read any more when it is needed.
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._capabilities = _capabilities()
        self._in_force: list[str] = []
        self.missing: list[str] = []

    @property
    def description(self) -> str:
        """Such as `seccomp, landlock 7, uid 1594382190`."""
        return ", ".join([*self._in_force, f"uid {self._uid}"])

    def begin(self, memory_bytes: int, lane_bytes: int, environment: Iterable[str]) -> None:
        """First: take what no later step needs. `environment`: the variables that are allowed.

        Units: `memory_bytes` for all that it allocates, `lane_bytes` of addresses for shared memory.
        Raises: JailError; ProcessLookupError if the supervisor has ended; OSError, ValueError for the memory limits.
        """
        die_with(self._parent)
        limit_memory(memory_bytes, lane_bytes)
        if self._sandbox == "off":
            self.missing.append("WORKER_SANDBOX is off")
            return
        extra = set(os.environ) - set(environment)
        self._must("an environment without secrets", lambda: _refuse_environment(extra))
        self._may("being killed before the supervisor when memory runs out", _offer_to_oom)
        self._must("limits", _limit)
        self._must("no_new_privs", kernel.forbid_new_privileges)
        self._must("a process that cannot be traced", kernel.forbid_tracing)

    def before_threads(self, libraries: Iterable[str]) -> None:
        """When the stages are loaded: before ABI 8 Landlock restricts only the calling thread and those that it starts.

        Reading below `libraries` and the system's libraries stays allowed, for what is loaded later.
        """
        if self._sandbox != "off":
            self._may("Landlock", lambda: self._restrict([*libraries, *_LIBRARIES]))

    def shut(self, channel_fd: int) -> None:
        """When everything has been tried: take the rest. Only the channel and descriptors 0 to 2 stay open.

        Raises: JailError.
        """
        if self._sandbox == "off":
            return
        # Descriptors that libraries have opened for themselves are closed too.
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
            # Landlock would give EACCES.
            if error.errno == errno.EPERM:
                self._in_force.insert(0, "seccomp")
                return
        raise OSError("the filter is loaded but has no effect")

    def _become_nobody(self) -> None:
        if self._capabilities & _TO_CHANGE_UID != _TO_CHANGE_UID:
            raise OSError("CAP_SETUID, CAP_SETGID and CAP_KILL are needed")
        os.setgroups([])
        # The C library changes every thread; all capabilities are lost with the uid.
        os.setresgid(NOBODY, NOBODY, NOBODY)
        self._uid = _OWN_UIDS + int.from_bytes(os.urandom(4), "little") % _OWN_UIDS
        try:
            os.setresuid(self._uid, self._uid, self._uid)
            _lower(resource.RLIMIT_NPROC, THREADS)
        except OSError:
            # A user namespace that does not map it.
            self._uid = NOBODY
            os.setresuid(NOBODY, NOBODY, NOBODY)
            self.missing.append("a bound on threads: no uid of its own is available")
        # The kernel resets both when the user changes.
        die_with(self._parent)
        kernel.forbid_tracing()

    def _restrict(self, readable: list[str]) -> None:
        self._landlock = landlock.restrict(readable)

    def _must(self, part: str, take: Callable[[], None]) -> None:
        try:
            take()
        except (OSError, ValueError) as error:
            if self._sandbox == "enforce":
                raise JailError(f"WORKER_SANDBOX: {part} is not available: {error}") from None
            self.missing.append(f"{part}: {error}")

    def _may(self, part: str, take: Callable[[], None]) -> None:
        try:
            take()
        except OSError as error:
            self.missing.append(f"{part}: {error}")


def die_with(parent: int) -> None:
    """Be killed when the supervisor ends, in any way. Raises OSError; ProcessLookupError if it has ended already."""
    kernel.signal_when_parent_ends(signal.SIGKILL)
    # If it ended before the call above, the parent has changed, and no signal will come.
    if os.getppid() != parent:
        raise ProcessLookupError("the supervisor is gone")


def limit_memory(memory_bytes: int, lane_bytes: int) -> None:
    """Bound what is allocated (RLIMIT_DATA) and, far above that, addresses of any kind (RLIMIT_AS).

    RLIMIT_AS alone would count shared memory, stacks and reserved addresses, which vary, as the picture's memory.
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
    """Set the soft and the hard limit, never higher than they were."""
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
