"""Names every library that decodes photos in this worker, with its version, for the log, `fastproc check` and evidence.

Rule 1: a library is named once for each copy that is loaded: what is in brackets says which format that copy decodes.
"""

from __future__ import annotations

import sys

from fastproc.worker import heif
from fastproc.worker.vips import library, parts


def versions() -> dict[str, str]:
    """Return library -> version, `unknown` where nothing says it. Call it before the jail is shut."""
    return {
        "libvips": library.version(),
        **parts.versions(),
        **heif.versions(),
        # A distribution's libvips loads it as a part of its own, which nothing asks for its version.
        **({"libjxl": parts.UNKNOWN} if "jxl" in library.readable() else {}),
        "pyjpegli": parts.of_package("pyjpegli"),
        "python": sys.version.split()[0],
    }
