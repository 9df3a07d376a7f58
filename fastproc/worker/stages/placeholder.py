"""What a page shows until the photo is loaded: a BlurHash and a ThumbHash, a few bytes each.

The ThumbHash has alpha if the thumbnails have it; else, and in a BlurHash, the picture is on white.
"""

from __future__ import annotations

import base64
from typing import Final

from fastproc.core.plan import fit
from fastproc.worker.digest import blurhash, thumbhash
from fastproc.worker.stage import StageResult, Work
from fastproc.worker.vips import colours

NAME: Final = "placeholder"

#: 32 samples show each of the at most 7 waves on a side exactly; more would only take longer.
SIDE_PX: Final = 32


def run(work: Work) -> StageResult:
    """Raises FileCorrupted."""
    width, height = fit(*work.source.sides, SIDE_PX)
    picture = work.source.stretched(width, height)
    pixels = colours.rgb_bytes(picture)
    across, down = (4, 3) if width >= height else (3, 4)
    return StageResult(
        {
            "blurhash": blurhash.encode(width, height, pixels, across, down),
            "thumbhash": base64.b64encode(
                thumbhash.encode(width, height, pixels, colours.alpha_bytes(picture))
            ).decode(),
        }
    )
