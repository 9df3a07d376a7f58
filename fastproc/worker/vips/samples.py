"""Makes small pictures in every format, for the encoders' self-tests and to warm up a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastproc.core.errors import FileCorrupted
from fastproc.worker.vips.library import LOADERS, Image, decoding, pyvips

_SAVERS: Final = {
    "jpeg": "jpegsave",
    "png": "pngsave",
    "webp": "webpsave",
    "gif": "gifsave",
    "avif": "heifsave",
    "jxl": "jxlsave",
}


def ramp() -> Image:
    """Return a small picture with a slope in every band."""
    ramp = pyvips.Image.xyz(96, 64)
    return (
        (ramp.bandjoin(ramp[0] + ramp[1]) * [2, 3, 1]).cast("uchar").copy(interpretation="srgb").copy_memory()
    )


def difference(picture: Image, encoded: bytes, format: str = "jpeg") -> tuple[float, bool]:
    """Return the mean square error of an encoded picture, and whether it is progressive. Raises FileCorrupted."""
    with decoding():
        read = getattr(pyvips.Image, f"{LOADERS[format]}_buffer")(encoded, fail_on="error").copy_memory()
        if format != "jpeg" and picture.bands == 1:
            read = read.extract_band(0)  # WebP has no grey
        if (read.width, read.height, read.bands) != (picture.width, picture.height, picture.bands):
            raise FileCorrupted(f"{read.width}x{read.height} of {read.bands} bands were decoded")
        return ((read - picture) ** 2).avg(), bool(
            read.get_typeof("jpeg-multiscan") and read.get("jpeg-multiscan")
        )


def samples() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the file of a small picture in every format that libvips can write here."""
    savers = {name: saver for name, saver in _SAVERS.items() if pyvips.type_find("VipsOperation", saver)}
    for name, saver in savers.items():
        options: dict[str, Any] = {"compression": "av1", "effort": 0} if name == "avif" else {}
        yield name, getattr(ramp(), f"{saver}_buffer")(**options)
    yield "progressive", ramp().jpegsave_buffer(interlace=True)
    for profile in ("p3", "cmyk"):
        yield profile, ramp().icc_transform(profile, input_profile="srgb").jpegsave_buffer(profile=profile)
