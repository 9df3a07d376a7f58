"""What a rendition may be: told by a worker to the stage's author, and required by the supervisor of any worker.

Rule 1: a picture of pixels alone: image/svg+xml can hold a program, and would be served from the photos' own address.
"""

from __future__ import annotations

import re
from typing import Final

#: Content type -> the format's name, as the gate has it.
FORMATS: Final = {f"image/{name}": name for name in ("jpeg", "webp", "avif", "png", "gif", "jxl")}
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_RENDITIONS: Final = 64
MAX_SIDE_PX: Final = 100_000


def problem(name: str, width: int, height: int, content_type: str) -> str:
    """Return what is wrong with what is said of a rendition, "" where nothing is."""
    if not NAME.fullmatch(name):
        return "its name is not 1 to 64 letters, digits, _ or -"
    if content_type not in FORMATS:
        return f"its content type is not one of {', '.join(FORMATS)}"
    if not all(1 <= side <= MAX_SIDE_PX for side in (width, height)):
        return f"its sides are {width} x {height}, not 1 to {MAX_SIDE_PX} pixels"
    return ""
