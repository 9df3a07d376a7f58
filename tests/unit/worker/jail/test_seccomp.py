"""The jail's filter, run by an interpreter of the kernel's instructions, for both machines on either."""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.worker.jail import seccomp
from fastproc.worker.jail.seccomp import ALLOW, ALLOWED, ARCHS, KILL_PROCESS, NO_SUCH_CALL, REFUSE, REFUSED

CHANNEL, PID = 3, 4242
PROGRAMS = {machine: seccomp.program(arch, CHANNEL, PID) for machine, arch in ARCHS.items()}
MACHINES = pytest.mark.parametrize("machine", ARCHS)


def kernel_answer(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the kernel would answer. Source: man 2 seccomp; Documentation/networking/filter.rst."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    audit = ARCHS[machine].audit if audit is None else audit
    data = struct.pack("<II7Q", number & 0xFFFF_FFFF, audit, 0, *(each % 2**64 for each in given))
    code = list(struct.iter_unpack("=HBBI", PROGRAMS[machine]))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                [accumulator] = struct.unpack_from("<I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"instruction {operation:#x}")


def asked(machine: str, name: str, *arguments: int) -> int:
    return kernel_answer(machine, ARCHS[machine].numbers[name], *arguments)


@MACHINES
def test_a_call_of_a_list_gets_its_lists_answer(machine: str) -> None:
    numbers = ARCHS[machine].numbers
    assert {asked(machine, name) for name in ALLOWED if name in numbers} == {ALLOW}
    assert {asked(machine, name) for name in REFUSED if name in numbers} == {REFUSE}
    assert asked(machine, "clone3") == NO_SUCH_CALL


@MACHINES
def test_every_other_number_ends_the_process(machine: str) -> None:
    known = set(ARCHS[machine].numbers.values()) - {ARCHS[machine].numbers["seccomp"]}
    for number in set(range(600)) - known:
        assert kernel_answer(machine, number) == KILL_PROCESS


@MACHINES
def test_another_machines_calls_end_the_process(machine: str) -> None:
    i386, x32 = 0x4000_0003, 0x4000_0000
    assert kernel_answer(machine, ARCHS[machine].numbers["read"], audit=i386) == KILL_PROCESS
    assert kernel_answer(machine, ARCHS[machine].numbers["read"] | x32) == KILL_PROCESS
    assert kernel_answer(machine, -1) == KILL_PROCESS


@MACHINES
def test_memory_is_allowed_but_not_code_nor_memory_that_no_limit_counts(machine: str) -> None:
    plain, shared = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.MAP_SHARED
    read_write = mmap.PROT_READ | mmap.PROT_WRITE
    assert asked(machine, "mmap", 0, 4096, read_write, plain) == ALLOW
    assert asked(machine, "mmap", 0, 4096, read_write, shared) == ALLOW
    assert asked(machine, "mmap", 0, 8 << 20, 0, plain | 0x20000 | 0x4000) == ALLOW
    assert asked(machine, "mmap", 0, 4096, read_write | mmap.PROT_EXEC, plain) == REFUSE
    assert asked(machine, "mmap", 0, 4096, mmap.PROT_EXEC, shared) == REFUSE
    assert asked(machine, "mmap", 0, 4096, read_write, shared | mmap.MAP_ANONYMOUS) == REFUSE
    for uncounted in (0x100, 0x2000, 0x40000):  # GROWSDOWN, LOCKED, HUGETLB
        assert asked(machine, "mmap", 0, 4096, read_write, plain | uncounted) == REFUSE
    assert asked(machine, "mprotect", 0, 4096, read_write) == ALLOW
    assert asked(machine, "mprotect", 0, 4096, read_write | mmap.PROT_EXEC) == REFUSE


@MACHINES
def test_a_thread_may_be_started_but_no_process_or_namespace(machine: str) -> None:
    thread, new_user, new_net = 0x3D0F00, 0x1000_0000, 0x4000_0000
    assert asked(machine, "clone", thread) == ALLOW
    assert asked(machine, "clone", thread | 0x400000) == ALLOW
    for flags in (0, 17, 0x01200011, 0x4111, thread | new_user, thread | new_net, thread & ~0x10000):
        assert asked(machine, "clone", flags) == REFUSE


@MACHINES
def test_messages_go_only_through_the_channel_and_signals_only_to_itself(machine: str) -> None:
    for name in ("sendmsg", "recvmsg"):
        assert asked(machine, name, CHANNEL) == ALLOW
        assert {asked(machine, name, fd) for fd in (0, 2, 4, -1)} == {REFUSE}
    assert asked(machine, "tgkill", PID, 1, 6) == ALLOW
    assert {asked(machine, "tgkill", pid, 1, 6) for pid in (1, 0, -1, PID + 1)} == {REFUSE}
    assert asked(machine, "prctl", 15) == ALLOW
    assert {asked(machine, "prctl", option) for option in (1, 4, 22, 38, 59)} == {REFUSE}
    assert asked(machine, "fcntl", 5, 1030) == ALLOW
    assert {asked(machine, "fcntl", 5, command) for command in (4, 8, 10, 15, 1024, 1033)} == {REFUSE}


@given(
    st.sampled_from(sorted(ARCHS)), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=6)
)
def test_every_call_whatever_its_arguments_gets_one_of_four_answers(
    machine: str, number: int, arguments: list[int]
) -> None:
    assert kernel_answer(machine, number, *arguments) in (ALLOW, REFUSE, KILL_PROCESS, NO_SUCH_CALL)


def test_no_call_is_in_two_lists_and_none_is_in_a_list_without_a_number() -> None:
    listed = [*ALLOWED, *REFUSED, *seccomp.checked(CHANNEL, PID), "clone3", "seccomp"]
    assert len(listed) == len(set(listed))
    for arch in ARCHS.values():
        assert set(arch.numbers) <= set(listed)
        assert len(set(arch.numbers.values())) == len(arch.numbers)
    assert set(listed) == {name for arch in ARCHS.values() for name in arch.numbers}


#: The kernel's own headers with the numbers; Debian's linux-libc-dev has both.
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@MACHINES
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].is_file():
        pytest.skip("the kernel's headers are not installed: apt-get install linux-libc-dev")
    text = HEADERS[machine].read_text()
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text))
    found.setdefault("newfstatat", found.get("fstatat", ""))  # asm-generic's own name for it
    assert {name: str(number) for name, number in ARCHS[machine].numbers.items()} == {
        name: found.get(name) for name in ARCHS[machine].numbers
    }
