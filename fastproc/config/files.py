"""Variables whose values lie in files: Docker's and Kubernetes' secrets, `NAME_FILE` in place of `NAME`.

Rule 1: no message shows what a file holds: it may be another file than was meant.
Rule 2: only regular files are read (Kubernetes' are links to them), and no more than a setting can need: a device, a
        pipe or a photo by mistake must not hold the start up.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from msgspec import Struct

#: Far more than any key, token or URL; as much as Linux allows for half a variable (MAX_ARG_STRLEN, 128 KiB).
MAX_BYTES = 64 << 10


class Given(Struct, frozen=True):
    """A variable's text ("" where there is none), the variable that it came by, and what is wrong with that."""

    text: str
    named: str
    problems: tuple[str, ...] = ()


def given(env: Mapping[str, str], name: str, *, file: bool = True) -> Given:
    """Return what the environment gives for `name`; `file`: NAME_FILE counts too, where NAME is not set."""
    text, by_file = env.get(name, "").strip(), f"{name}_FILE"
    path = env.get(by_file, "").strip() if file else ""
    if not path:
        return Given(text, name)
    if text:
        return Given("", by_file, (f"{by_file}: {name} is set too: set one of them",))
    try:
        return Given(_content(path), by_file)
    except OSError as error:
        return Given("", by_file, (f"{by_file}: cannot read {path!r} ({error.strerror})",))
    except ValueError as error:
        return Given("", by_file, (f"{by_file}: {path!r} {error}",))


def _content(path: str) -> str:
    """Return a file's text without spaces and line ends around it. Raises OSError, ValueError."""
    with open(path, "rb", opener=_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is not a file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not text (UTF-8)") from None
    if not text:
        raise ValueError("is empty")
    if "\0" in text:
        raise ValueError("is not text: it has a NUL byte")
    return text


def _at_once(path: str, flags: int) -> int:
    """Opening a pipe that nobody writes to would wait without end."""
    return os.open(path, flags | os.O_NONBLOCK)
