"""A stage that an attacker controls: it does what its photo orders. For tests of the jail; never part of the package.

The order is a name of ESCAPES and its arguments, as JSON after the picture (`ordered`). The outcome is a fact:
`escaped: ...` or `denied: ERRNO`; or nothing, if the kernel ends the process. `command` starts a worker with it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from fastproc.ipc import messages
from fastproc.ipc.messages import Progress, encode
from fastproc.worker.stage import StageResult, Work

NAME = "traitor"
MARK = b"\nTRAITOR "
CHANNEL_FD = 3
PAGE = mmap.PAGESIZE
#: x86-64, aarch64
NUMBERS = {
    "add_key": (248, 217), "bpf": (321, 280), "inotify_init1": (294, 26), "io_uring_setup": (425, 425),
    "keyctl": (250, 219), "mount": (165, 40), "name_to_handle_at": (303, 264), "perf_event_open": (298, 241),
    "personality": (135, 92), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117),
    "shmget": (29, 194), "unshare": (272, 97), "userfaultfd": (323, 282),
}  # fmt: skip
ESCAPES: dict[str, Callable[..., Any]] = {}
#: The photo that is being processed.
photo: list[memoryview] = []

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


# --- the supervisor's side


def ordered(photo: bytes, escape: str, *arguments: Any) -> bytes:
    return photo + MARK + json.dumps([escape, *arguments]).encode()


def site(folder: Path) -> Path:
    """Make a folder that adds this stage to a worker when it is on its path."""
    shutil.copy(__file__, folder / "traitor.py")
    about = folder / "traitor-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: traitor\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[fastproc.stages]\ntraitor = traitor\n")
    return folder


def command(folder: Path, fd: int, settings: messages.Settings) -> list[str]:
    """What `ipc.launch.command` returns, for a worker with that folder on its path."""
    code = (
        f"import os, sys\nsys.path.insert(0, {str(folder)!r})\n"
        "from fastproc.worker.main import main\nos._exit(main(sys.argv))"
    )
    return [sys.executable, "-I", "-c", code, str(fd), msgspec.json.encode(settings).decode()]


# --- the worker's side


def run(work: Work) -> StageResult:
    _, mark, order = bytes(work.source.data).rpartition(MARK)
    if not mark:
        return StageResult({})
    escape, *arguments = json.loads(order)
    photo[:] = [work.source.data]
    try:
        outcome = f"escaped: {ESCAPES[escape](*arguments)}"
    except OSError as error:
        outcome = f"denied: {errno.errorcode.get(error.errno or 0, error.errno)}"
    return StageResult({"outcome": outcome})


def escape(function: Callable[..., Any]) -> Callable[..., Any]:
    ESCAPES[function.__name__] = function
    return function


def syscall(name: str, *arguments: Any) -> int:
    number = NUMBERS[name][platform.machine() == "aarch64"]
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(libc.syscall(number, *wide))


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


@escape
def read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(20).hex()


@escape
def write(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)


@escape
def listing(path: str) -> list[str]:
    return os.listdir(path)[:3]


@escape
def look_at(path: str) -> int:
    return os.stat(path).st_size


@escape
def truncate(path: str) -> None:
    os.truncate(path, 0)


@escape
def remove(path: str) -> None:
    os.unlink(path)


@escape
def connect(host: str, port: int) -> str:
    with socket.socket() as tcp:
        tcp.settimeout(1)
        try:
            tcp.connect((host, port))
        except OSError as error:
            # No answer still means that the kernel tried; the jail refuses with one of these two.
            if error.errno in (errno.EPERM, errno.EACCES):
                raise
        return "a connection was tried"


@escape
def connect_unix(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        return "connected"


@escape
def send_udp(host: str, port: int) -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        return udp.sendto(b"secret", (host, port))


@escape
def socket_pair() -> str:
    for end in socket.socketpair():
        end.close()
    return "a pair"


@escape
def send_elsewhere(fd: int) -> int:
    """Through some other descriptor, which the kernel would use if it were a socket."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd).sendmsg([b"x"])


@escape
def fork() -> int:
    child = os.fork()
    if not child:
        os._exit(0)
    return os.waitpid(child, 0)[1]


@escape
def execute(path: str) -> int:
    return os.waitpid(os.posix_spawn(path, [path], {}), 0)[1]


@escape
def replace_itself(path: str) -> None:
    os.execv(path, [path])


@escape
def trace(pid: int) -> str:
    seize = 0x4206
    syscall("ptrace", seize, pid, 0, 0)
    return "attached"


@escape
def read_memory(pid: int, address: int, size: int) -> str:
    return _copy("process_vm_readv", pid, address, size)


@escape
def write_memory(pid: int, address: int, size: int) -> str:
    return _copy("process_vm_writev", pid, address, size)


def _copy(name: str, pid: int, address: int, size: int) -> str:
    here = ctypes.create_string_buffer(size)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(here), size)
    remote = (ctypes.c_size_t * 2)(address, size)
    syscall(name, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return here.raw.hex()


@escape
def send_signal(pid: int) -> None:
    os.kill(pid, 0)


@escape
def send_signal_by_pidfd(pid: int) -> None:
    signal.pidfd_send_signal(os.pidfd_open(pid), 0)


@escape
def own_signals_by_fd(pid: int) -> int:
    return fcntl.fcntl(CHANNEL_FD, fcntl.F_SETOWN, pid)


@escape
def outlive_the_supervisor() -> int:
    pr_set_pdeathsig = 1
    return checked(libc.prctl(pr_set_pdeathsig, 0, 0, 0, 0))


@escape
def be_traceable() -> int:
    pr_set_dumpable = 4
    return checked(libc.prctl(pr_set_dumpable, 1, 0, 0, 0))


@escape
def map_code() -> str:
    mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    return "mapped"


@escape
def make_code() -> int:
    address = libc.mmap(None, PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANON, -1, 0)
    return checked(libc.mprotect(ctypes.c_void_p(address), PAGE, 4))


@escape
def map_uncounted(flags: int) -> str:
    """Memory that RLIMIT_DATA does not count: shared and anonymous, or growing down."""
    address = libc.mmap(None, 1 << 20, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "")
    return "mapped"


@escape
def make_memfd() -> int:
    return os.memfd_create("mine")


@escape
def set_limits(pid: int) -> str:
    limits = resource.prlimit(pid, resource.RLIMIT_CORE)
    return str(resource.prlimit(pid, resource.RLIMIT_CORE, limits))


@escape
def become_root() -> str:
    os.setresuid(0, 0, 0)
    return "root"


@escape
def change_root(path: str) -> None:
    os.chroot(path)


@escape
def new_namespace() -> int:
    clone_newns = 0x20000
    return syscall("unshare", clone_newns)


@escape
def mount(path: str) -> int:
    ms_bind = 4096
    return syscall("mount", path.encode(), path.encode(), None, ms_bind, None)


@escape
def keep_a_key() -> int:
    own_process_keyring = -2
    return syscall("add_key", b"user", b"fastproc-test", b"x", 1, own_process_keyring)


@escape
def ask_for_keys() -> int:
    get_keyring_id, session = 0, -3
    return syscall("keyctl", get_keyring_id, session, 0)


@escape
def io_uring() -> int:
    return syscall("io_uring_setup", 1, ctypes.create_string_buffer(120))


@escape
def load_bpf() -> int:
    map_create = 0
    array_of_one = (ctypes.c_uint32 * 32)(2, 4, 4, 1)
    return syscall("bpf", map_create, array_of_one, ctypes.sizeof(array_of_one))


@escape
def fault_handler() -> int:
    return syscall("userfaultfd", 0)


@escape
def perf_events() -> int:
    attributes = (ctypes.c_uint32 * 28)(1, 112)
    return syscall("perf_event_open", attributes, 0, -1, -1, 0)


@escape
def shared_segment() -> int:
    private, create = 0, 0o1600
    return syscall("shmget", private, PAGE, create)


@escape
def watch_files() -> int:
    return syscall("inotify_init1", 0)


@escape
def file_handle(path: str) -> int:
    at_fdcwd = -100
    handle = (ctypes.c_uint32 * 64)(128)
    return syscall("name_to_handle_at", at_fdcwd, path.encode(), handle, ctypes.byref(ctypes.c_int()), 0)


@escape
def old_personality() -> int:
    read_implies_exec = 0x0400000
    return syscall("personality", read_implies_exec)


@escape
def in_another_thread(path: str) -> str:
    """A thread that is started in the jail must be in it too."""
    found: list[Any] = []

    def attempt() -> None:
        try:
            found.append(os.open(path, os.O_RDONLY))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return "opened"


@escape
def hold_descriptors() -> int:
    held: list[int] = []
    while len(held) < 200:
        held.append(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 0))
    return len(held)


# --- what the jail cannot forbid, and the supervisor must survive


@escape
def think() -> str:
    return "done"


@escape
def see() -> str:
    """All that is visible from inside."""
    held = [fd for fd in range(1024) if _is_open(fd)]
    return json.dumps({"environment": dict(os.environ), "descriptors": held})


@escape
def scribble_on_the_source() -> str:
    """Make the photo's own mapping writable, and write."""

    class PyBuffer(ctypes.Structure):
        _fields_ = (("address", ctypes.c_void_p), ("rest", ctypes.c_byte * 128))

    buffer = PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(photo[0]), ctypes.byref(buffer), 0)
    address = ctypes.c_void_p(buffer.address)
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    checked(libc.mprotect(address, PAGE, mmap.PROT_READ | mmap.PROT_WRITE))
    ctypes.memset(address, 0, PAGE)
    return "written"


@escape
def resize_blobs(size: int) -> list[int]:
    """Through the descriptors that Python's mappings keep. In a jail the call is refused before the seals matter."""
    held = [fd for fd in range(CHANNEL_FD + 1, 32) if _is_open(fd)]
    for fd in held:
        os.ftruncate(fd, size)
    return held


def _is_open(fd: int) -> bool:
    try:
        os.lseek(fd, 0, os.SEEK_CUR)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


@escape
def grow() -> None:
    held = []
    while True:
        held.append(bytearray(64 << 20))


@escape
def spin() -> None:
    while True:
        pass


@escape
def sleep() -> None:
    time.sleep(3600)


@escape
def many_threads() -> None:
    threading.stack_size(64 << 10)
    while True:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


@escape
def thread_bomb(most: int) -> int:
    """Start threads until the kernel refuses one, or there are `most`."""
    threading.stack_size(64 << 10)
    count = 0
    while count < most:
        try:
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        except RuntimeError:
            break
        count += 1
    return count


def _channel() -> socket.socket:
    # With all arguments given, so that Python does not ask the kernel for them.
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, CHANNEL_FD)


@escape
def flood_the_channel() -> None:
    channel = _channel()
    while True:
        channel.sendmsg([encode(Progress(stage="validation"))])


@escape
def flood_stderr() -> None:
    while True:
        os.write(2, b"x" * 65536)


@escape
def send_descriptors() -> None:
    socket.send_fds(_channel(), [encode(Progress(stage=NAME))], [0, 1, 2])
    time.sleep(3600)


@escape
def die(number: int) -> None:
    signal.raise_signal(number)


@escape
def touch_nothing() -> None:
    ctypes.string_at(0)
