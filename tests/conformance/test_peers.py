"""The workers that bench/compare.py measures start, and make of a photo what fastproc makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests import pictures
from tests.conformance import peer as peers

BENCH = Path(__file__).parents[2] / "bench"


def walled(picture: Image.Image) -> Image.Image:
    """Paint a wall in the middle, in the middle of a step of statistics, so that there is one dominant colour."""
    width, height = picture.size
    picture.paste((200, 120, 56), (width // 4, height // 8, 3 * width // 4, 7 * height // 8))
    return picture


def large() -> bytes:
    """A photo with grain, over 2 MiB with few pixels: the peers' mozjpeg takes a second for two megapixels."""
    pixels = np.asarray(pictures.detailed(1440, 1080)) + np.random.default_rng(1).normal(
        0, 9, (1080, 1440, 3)
    )
    grainy = walled(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    data = pictures.encoded(grainy, "JPEG", quality=100, subsampling=0)
    assert len(data) > 2 << 20, len(data)
    return data


def test_the_peers_of_the_comparison_make_equal_outputs(tmp_path: Path) -> None:
    """Of a portrait that a camera turned, of a photo that gets an optimised copy, and of tiny ones."""
    peers.require(BENCH / "peers")
    portrait = pictures.encoded(
        walled(pictures.detailed(400, 300)), "JPEG", quality=90, exif=pictures.camera_exif()
    )
    (tmp_path / "portrait.jpg").write_bytes(portrait)
    (tmp_path / "large.jpg").write_bytes(large())
    command = [sys.executable, str(BENCH / "compare.py"), str(tmp_path), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.stderr.strip() == "equal outputs: fastproc-four, reference, expert, python"
    assert done.returncode == 0
