"""The pictures of the golden suite, by name: generated ones for each possible fault, and real ones if they are present.

Generated ones are about 640 pixels long: larger than the largest thumbnail, small enough to compare in all sizes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyvips
from PIL import Image, ImageCms

from tests import pictures
from tests.pictures import detailed, encoded

Make = Callable[[], bytes]
KINDS = {"jpeg": "JPEG", "webp": "WEBP", "png": "PNG", "avif": "AVIF"}


def _jpeg(picture: Image.Image | None = None, **options: object) -> bytes:
    return encoded(picture or detailed(), "JPEG", **{"quality": 95, "subsampling": "4:4:4", **options})


def _vips(picture: Image.Image | np.ndarray, space: str = "srgb") -> pyvips.Image:
    return pyvips.Image.new_from_array(np.asarray(picture)).copy(interpretation=space)


def _sixteen(picture: Image.Image) -> pyvips.Image:
    """In 16 bits, with values between those that 8 bits have."""
    wide = np.asarray(picture).astype(np.uint32) * 257
    fine = np.minimum(
        wide + np.arange(wide.shape[1])[(None, slice(None), *[None] * (wide.ndim - 2))] % 200, 65535
    )
    return _vips(fine.astype(np.uint16), "rgb16" if wide.ndim == 3 else "grey16")


def _see_through(mode: str = "RGBA") -> Image.Image:
    """All degrees of transparency; fully transparent pixels are magenta, which must not show."""
    picture = detailed()
    alpha = (
        Image.linear_gradient("L").resize(picture.size).point(lambda value: max(0, min(255, 2 * value - 128)))
    )
    picture.paste((255, 0, 255), mask=alpha.point(lambda value: 255 * (value == 0)))
    made = picture.convert(mode[:-1]).convert(mode)
    made.putalpha(alpha)
    return made


def _palette() -> bytes:
    picture = detailed().quantize(200)
    return encoded(picture, "PNG", transparency=bytes(255 - 5 * n if n < 50 else 255 for n in range(200)))


def _cmyk(profile: bytes | None, *, marked: bool = True) -> bytes:
    """In CMYK, stored inverted, as all programs do and expect; most mark it with an Adobe marker."""
    source, press = (
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(pictures.profile("cmyk"))),
    )
    inks = ImageCms.profileToProfile(detailed(), source, press, ImageCms.Intent.PERCEPTUAL, outputMode="CMYK")
    assert inks is not None
    whole = encoded(inks, "JPEG", quality=95, **({"icc_profile": profile} if profile else {}))
    at = whole.index(b"\xff\xee")
    return whole if marked else whole[:at] + whole[at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big") :]


def _animated(kind: str) -> bytes:
    first = detailed()
    rest = [Image.new("RGB", first.size, (40 * n, 10, 10)) for n in range(3)]
    exact = {"lossless": True} if kind == "WEBP" else {}
    return encoded(first, kind, save_all=True, append_images=rest, duration=50, **exact)


def _icc(mode: str, primaries: tuple, gamma: float) -> Make:
    return lambda: _jpeg(detailed(mode=mode), icc_profile=pictures.matrix_profile(primaries, gamma))


def _with_everything() -> bytes:
    """EXIF with a position, XMP, a comment and a profile: none may reach the outputs."""
    picture = detailed()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><secret/></x:xmpmeta>'
    return _jpeg(picture, exif=pictures.camera_exif(), icc_profile=profile, xmp=xmp, comment="secret")


MADE: dict[str, Make] = {
    f"{name} turned {orientation}": lambda kind=kind, orientation=orientation: pictures.turned(
        orientation, kind, shown=detailed()
    )
    for name, kind in KINDS.items()
    for orientation in range(1, 9)
}


def _cut(width: int, height: int) -> Image.Image:
    """A strip of a larger picture: across a thin one neighbours are similar, so that 4:2:0 does not blur them."""
    whole = detailed(max(width, 600), max(height, 600))
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    return (
        whole.crop((left, top, left + width, top + height))
        if min(width, height) < 10
        else detailed(width, height)
    )


MADE |= {
    f"jpeg {subsampling} {how}{width}x{height}": lambda w=width, h=height, s=subsampling, p=bool(how): _jpeg(
        detailed(w, h), subsampling=s, progressive=p
    )
    for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    for how, width, height in (("", 640, 480), ("progressive ", 640, 480), ("", 997, 601), ("", 1283, 947))
}
MADE |= {
    f"{name} {width}x{height}": lambda w=width, h=height, kind=kind: encoded(_cut(w, h), kind, quality=95)
    for name, kind in KINDS.items()
    for width, height in ((1, 700), (700, 1), (2000, 3), (3, 2000), (1201, 7), (131, 137))
}
MADE |= {
    "display p3 jpeg": lambda: _jpeg(icc_profile=pictures.profile("p3")),
    "display p3 png": lambda: encoded(detailed(), "PNG", icc_profile=pictures.profile("p3")),
    "display p3 webp": lambda: encoded(detailed(), "WEBP", quality=95, icc_profile=pictures.profile("p3")),
    "display p3 avif": lambda: encoded(detailed(), "AVIF", quality=95, icc_profile=pictures.profile("p3")),
    "display p3 turned 6": lambda: _turned_p3(),
    "display p3 16 bit": lambda: bytes(
        _sixteen(detailed()).icc_transform("p3", input_profile="p3", depth=16).pngsave_buffer()
    ),
    "adobe rgb": _icc("RGB", pictures.ADOBE_RGB, 563 / 256),
    "prophoto": _icc("RGB", pictures.PROPHOTO, 1.8),
    "primaries swapped": _icc("RGB", pictures.SWAPPED, 2.2),
    "linear light": _icc("RGB", pictures.ADOBE_RGB, 1.0),
    "srgb profile": lambda: _jpeg(
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ),
    "profile broken": lambda: _jpeg(icc_profile=b"\0" * 200),
    "profile of another space": lambda: _jpeg(icc_profile=pictures.matrix_profile((), 1.0)),
    "cmyk with profile": lambda: _cmyk(pictures.profile("cmyk")),
    "cmyk": lambda: _cmyk(None),
    "cmyk without a marker": lambda: _cmyk(None, marked=False),
    "cmyk with an rgb profile": lambda: _cmyk(pictures.profile("p3")),
    "rgb stored as rgb": lambda: _jpeg(keep_rgb=True),
    "restart markers": lambda: _jpeg(restart_marker_rows=1, subsampling="4:2:0"),
    "grey jpeg": lambda: _jpeg(detailed(mode="L")),
    "grey jpeg turned 8": lambda: pictures.turned(8, shown=detailed(mode="L")),
    "grey with profile": _icc("L", (), 1.2),
    "grey png": lambda: encoded(detailed(mode="L"), "PNG"),
    "grey avif": lambda: encoded(detailed(mode="L"), "AVIF", quality=95),
    "one bit": lambda: encoded(detailed(mode="1"), "PNG"),
    "grey 16 bit": lambda: bytes(_sixteen(detailed(mode="L")).pngsave_buffer()),
    "rgb 16 bit": lambda: bytes(_sixteen(detailed()).pngsave_buffer()),
    "rgba 16 bit": lambda: bytes(_sixteen(_see_through()).pngsave_buffer()),
    "adam7": lambda: bytes(_vips(detailed()).pngsave_buffer(interlace=True)),
    "palette": lambda: encoded(detailed().quantize(256), "PNG"),
    "palette with transparency": _palette,
    "png alpha": lambda: encoded(_see_through(), "PNG"),
    "png grey alpha": lambda: encoded(_see_through("LA"), "PNG"),
    "png alpha in display p3": lambda: encoded(_see_through(), "PNG", icc_profile=pictures.profile("p3")),
    "webp alpha": lambda: encoded(_see_through(), "WEBP", lossless=True, exact=True),
    "avif alpha": lambda: encoded(_see_through(), "AVIF", quality=95),
    "webp lossless": lambda: encoded(detailed(), "WEBP", lossless=True),
    "avif 10 bit": lambda: bytes(
        _sixteen(detailed()).heifsave_buffer(
            compression="av1", bitdepth=10, Q=95, effort=1, subsample_mode="off"
        )
    ),
    "gif": lambda: encoded(detailed().quantize(256), "GIF"),
    "animated webp": lambda: _animated("WEBP"),
    "animated gif": lambda: _animated("GIF"),
    "animated avif": lambda: _animated("AVIF"),
    "animated png": lambda: _animated("PNG"),
    "gain map": lambda: pictures.gain_map(detailed()),
    "everything that must be removed": _with_everything,
}


def _turned_p3() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = detailed().transpose(Image.Transpose.ROTATE_90)
    return _jpeg(stored, exif=exif, icc_profile=pictures.profile("p3"))


PHOTOS = pictures.SHARED / "photos"
#: Files that cannot be processed, and their codes, at the default limits but for the smallest side.
REFUSED = {
    "corrupt_header.jpg": "FILE_CORRUPTED",
    "truncated.jpg": "FILE_CORRUPTED",
    "truncated.png": "FILE_CORRUPTED",
    "over_10000px.jpg": "IMAGE_TOO_LARGE",
}
_REAL = [path for folder in ("odd", "mix") for path in sorted((PHOTOS / folder).glob("*"))]
REAL: dict[str, Path] = {path.name: path for path in _REAL if path.name not in REFUSED}
#: sharp's libheif has no HEVC, and refuses AVIF of many pictures.
NOT_BY_SHARP = {"iphone.heic", "animated avif"}
