"""Makes the same pictures with other programs: Pillow with LittleCMS here, sharp in a Node process.

Each returns a source upright, on white, in sRGB, at the requested sizes. sharp shares libvips with the worker: its
decoders, profiles and resampling. So Pillow is the reference for colour, turn and position, and sharp the one that
people will compare with.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pi_heif
import pytest
from PIL import Image, ImageCms, ImageOps

from tests import pictures
from tests.golden.measures import Pixels

HERE = Path(__file__).parent
SRGB = ImageCms.createProfile("sRGB")
#: None: the picture's own size.
Size = tuple[int, int] | None


class SharpError(Exception):
    """sharp threw an error; the message is sharp's."""


class Sharp:
    """One Node process that answers one request after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "sharp.js"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def pixels(self, picture: bytes, sizes: Sequence[Size]) -> list[Pixels]:
        """Return the picture at each size. Raises SharpError."""
        return [_pixels(made) for made in self._ask("pixels", picture, sides=sizes)]

    def coded(self, pixels: Pixels, quality: int) -> Pixels:
        """Return the pixels after mozjpeg at that quality, 4:2:0: the loss by coding alone."""
        size = (pixels.shape[1], pixels.shape[0])
        return _pixels(self._ask("coded", pixels.tobytes(), size=size, quality=quality))

    def facts(self, picture: bytes) -> dict[str, Any]:
        """Return what sharp reads from a file. Raises SharpError for any warning of a decoder."""
        return self._ask("facts", picture)

    def _ask(self, op: str, picture: bytes, **more: object) -> Any:
        process = self._process
        assert process.stdin
        assert process.stdout
        question = {"op": op, "picture": base64.b64encode(picture).decode(), **more}
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        if "error" in answer:
            raise SharpError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def _pixels(made: dict[str, Any]) -> Pixels:
    found = np.frombuffer(base64.b64decode(made["pixels"]), np.uint8)
    # sharp keeps grey as one band.
    return np.broadcast_to(
        found.reshape(made["height"], made["width"], -1), (made["height"], made["width"], 3)
    )


def require_sharp() -> None:
    """Skip where sharp is not installed; in CI that is a failure (tests/skips.py)."""
    if shutil.which("node") and (HERE / "node_modules" / "sharp").is_dir():
        return
    pytest.skip("sharp is not installed: scripts/node")


def array(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"))


def pillow(data: bytes, sizes: Sequence[Size]) -> list[Pixels]:
    """Return the picture at each size, by Pillow and LittleCMS."""
    whole = _opened(data)
    profile = whole.info.get("icc_profile") or _profile_of_gamma(whole.info.get("gamma"))
    whole = _eight_bits(ImageOps.exif_transpose(whole))
    if whole.mode == "CMYK" and not profile:
        # Without a profile there is no right answer. Pillow's own, 255 minus ink, is garish, so this assumes the same
        # press as sharp and libvips; the transform is still by LittleCMS.
        profile = pictures.profile("cmyk")
    whole = _on_white(_in_srgb(whole, profile))
    return [array(whole.resize(size, Image.Resampling.LANCZOS) if size else whole) for size in sizes]


def _profile_of_gamma(gamma: float | None) -> bytes | None:
    """Pillow reads a PNG's gamma but does not use it; one near a screen's means nothing."""
    if not gamma or abs(2.2 * gamma - 1) < 0.05:
        return None
    sides = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
    return pictures.matrix_profile(sides, 1 / gamma)


def _opened(data: bytes) -> Image.Image:
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1"):
        found = pi_heif.open_heif(data, convert_hdr_to_8bit=True)[0]
        picture = Image.frombytes(found.mode, found.size, bytes(found.data), "raw", found.mode, found.stride)
        picture.info["icc_profile"] = found.info.get("icc_profile")
        return picture
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow reads 16-bit colour as 8 bits but keeps 16-bit grey, and palettes, whose profile it cannot apply."""
    if picture.mode.startswith("I"):
        return Image.fromarray(((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if picture.mode in ("P", "PA"):
        return picture.convert("RGBA")
    return picture.convert("L") if picture.mode == "1" else picture


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return picture
    alpha = picture.getchannel("A") if picture.mode in ("RGBA", "LA") else None
    colours = picture.convert(picture.mode[:-1]) if alpha else picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        made = ImageCms.profileToProfile(colours, source, SRGB, ImageCms.Intent.PERCEPTUAL, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):
        # A broken profile, or one of another colour space than the pixels': as if there were none.
        return _in_srgb(picture, pictures.profile("cmyk")) if picture.mode == "CMYK" else picture
    assert made is not None
    if alpha:
        made.putalpha(alpha)
    return made


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode not in ("RGBA", "LA"):
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
