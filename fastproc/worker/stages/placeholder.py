"""What a page shows until the photo is there: a BlurHash and a ThumbHash, a few bytes each.

Transparent where the thumbnails are (ThumbHash; BlurHash knows no alpha), else on white as they are.
"""

from __future__ import annotations

import base64
from typing import Final

from fastproc.core.plan import fit
from fastproc.worker.digest import blurhash, thumbhash
from fastproc.worker.stage import StageResult, Work
from fastproc.worker.vips import colours

NAME: Final = "placeholder"

#: Of 7 waves at most across a side, 32 samples show each without error; more only take longer.
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
