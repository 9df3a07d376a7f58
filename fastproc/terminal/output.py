"""What commands write to stdout: any character in any locale, and a reader that goes away early.

Rule 1: a character that the locale's encoding lacks is escaped as in JSON (`\\u00fc`): no job's id ends a command, and
        `--json` stays JSON.
Rule 2: who has closed the pipe (`| head -1`) knows enough: the command ends as by SIGPIPE, and without a word. Any
        other exit code would say something of what was asked or ordered.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

_ESCAPED = "fastproc.escaped"


@contextmanager
def written() -> Iterator[None]:
    """Write what the block prints by the rules above. The process ends where nobody reads it."""
    codecs.register_error(_ESCAPED, _escape)
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(errors=_ESCAPED)
    stdout = sys.stdout
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _unread(stdout)
    except SystemExit as end:
        # So end rich and click, which puts another stdout in the place of one that is not read.
        if isinstance(end.__context__, BrokenPipeError) or sys.stdout is not stdout:
            _unread(stdout)
        raise


def discard(fd: int) -> None:
    """Let what is still written to the descriptor go nowhere: else Python complains once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)


def _unread(stdout: TextIO) -> NoReturn:
    discard(stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
