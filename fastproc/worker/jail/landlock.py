"""Gives up paths, TCP, abstract sockets and signals to others, by Landlock's system calls.

Source: linux/landlock.h, kernel documentation userspace-api/landlock.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import Final

from fastproc.worker.jail import kernel

#: asm-generic/unistd.h; they are the same on every machine.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
#: First ABI, and the rights to files that it can take away, as a mask.
_FILE_RIGHTS: Final = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
#: Likewise: bind and connect.
_TCP_RIGHTS: Final = (4, 0b11)
#: Likewise: abstract sockets, signals.
_SCOPES: Final = (6, 0b11)
#: From this ABI on all threads can be restricted; before, only the caller and those that it starts later.
_RESTRICT_SELF_TSYNC: Final = (8, 1 << 3)


def restrict(readable: Iterable[str]) -> int:
    """Take away everything but reading below the given paths; return the kernel's ABI. Raises OSError.

    It cannot be undone: a second call takes more away.
    """
    abi = kernel.call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    files = sum(rights for since, rights in _FILE_RIGHTS if abi >= since)
    tcp, scopes, threads = (
        rights if abi >= since else 0 for since, rights in (_TCP_RIGHTS, _SCOPES, _RESTRICT_SELF_TSYNC)
    )
    # struct landlock_ruleset_attr has grown: a kernel accepts a longer one if the unknown fields are zero.
    attributes = struct.pack("=QQQ", files, tcp, scopes)
    ruleset = kernel.call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in set(readable):
            _allow_reading(ruleset, path)
        kernel.call(_RESTRICT_SELF, ruleset, threads)
    finally:
        os.close(ruleset)
    return abi


def _allow_reading(ruleset: int, path: str) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        # struct landlock_path_beneath_attr, packed
        kernel.call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)
