"""A network of hosts on this machine: network namespaces that are joined by a bridge, to cut one of them off.

Rule 1: nothing here has a name outside the process, and nothing touches the machine's own network: the kernel removes
        a namespace, and the devices in it, when no process and no descriptor refers to it. A run that is killed leaves
        nothing.
Rule 2: a namespace belongs to a thread. The thread that enters `network()` is in the middle, where the servers run;
        what it starts (processes, threads) and what it connects is there too.
Rule 3: all faults are silent, as those of a network are: nobody is told that a connection is broken.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fastproc.core.errors import FastprocError
from fastproc.embedded.child import ServerFailed

_libc = ctypes.CDLL(None, use_errno=True)
#: Source: sched.h. Python has os.unshare and os.setns from 3.12 on.
_CLONE_NEWNET = 0x40000000

#: Addresses of the middle. Each server may have one of its own, so that a host can lose one server and keep others.
SERVERS = ("10.87.0.1", "10.87.0.2", "10.87.0.3")
_HOSTS = "10.87.0.{}"
_FIRST_HOST = 11
_BRIDGE_MAC = "02:00:00:00:00:01"
#: No device has this address: what is sent there is lost.
_NOBODY = "02:00:00:00:00:ff"


#: What `ip` says where the user lacks the right to make a network, or the kernel the devices.
_REFUSALS = ("not permitted", "not supported", "Unknown device type")


class NetworkRefused(FastprocError):
    """The kernel does not let this user make a network of namespaces."""


class Host:
    """One host: a namespace with a cable to the bridge. `inside` is where its processes are started."""

    def __init__(self, number: int, namespace: int) -> None:
        self.address = _HOSTS.format(_FIRST_HOST + number)
        self._namespace = namespace
        self._cable = f"cable{number}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread, and what it starts or connects in the block, is on the host."""
        before = _own_namespace()
        try:
            _enter(self._namespace)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def connect(self) -> None:
        """Lay the cable; to be called once, in the middle."""
        theirs = f"/proc/{os.getpid()}/fd/{self._namespace}"
        _ip(f"link add {self._cable} type veth peer name eth0 netns {theirs}")
        _ip(f"link set {self._cable} master bridge up")
        with self.inside():
            _ip("link set lo up")
            _ip(f"address add {self.address}/24 dev eth0")
            _ip("link set eth0 up")

    def unplug(self) -> None:
        """Cut the host off; to be called in the middle."""
        _ip(f"link set {self._cable} down")

    def plug(self) -> None:
        """Join the host again; to be called in the middle."""
        _ip(f"link set {self._cable} up")

    def lose(self, server: str) -> None:
        """Let everything that the host sends to this server be lost."""
        with self.inside():
            _ip(f"neighbour replace {server} lladdr {_NOBODY} dev eth0 nud permanent")

    def find(self, server: str) -> None:
        """Let it reach the server again."""
        with self.inside():
            _ip(f"neighbour replace {server} lladdr {_BRIDGE_MAC} dev eth0 nud permanent")


@contextmanager
def network(hosts: int) -> Iterator[list[Host]]:
    """Make a network of so many hosts; the calling thread is in its middle until the end of the block.

    Raises NetworkRefused, ServerFailed.
    """
    if shutil.which("ip") is None:
        raise ServerFailed("ip was not found: Debian's package iproute2 has it")
    with ExitStack() as stack:
        before = _own_namespace()
        stack.callback(os.close, before)
        _leave()
        stack.callback(_enter, before)
        _ip("link set lo up")
        _ip(f"link add bridge address {_BRIDGE_MAC} type bridge")
        for address in SERVERS:
            _ip(f"address add {address}/24 dev bridge")
        _ip("link set bridge up")
        middle = _own_namespace()
        stack.callback(os.close, middle)
        made = []
        for number in range(hosts):
            _leave()
            namespace = _own_namespace()
            stack.callback(os.close, namespace)
            _enter(middle)
            made.append(Host(number, namespace))
            made[-1].connect()
        yield made


def _own_namespace() -> int:
    """A descriptor of the network namespace of the calling thread, which keeps it alive."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _leave() -> None:
    """Put the calling thread into a new, empty namespace. Raises NetworkRefused."""
    if _libc.unshare(_CLONE_NEWNET):
        raise NetworkRefused(f"no network namespace: {os.strerror(ctypes.get_errno())}")


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise NetworkRefused(f"a network namespace cannot be entered: {os.strerror(ctypes.get_errno())}")


def _ip(arguments: str) -> None:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if any(refusal in done.stderr for refusal in _REFUSALS):
        raise NetworkRefused(f"ip {arguments}: {done.stderr.strip()}")
    if done.returncode:
        raise RuntimeError(f"ip {arguments}: {done.stderr.strip()}")
