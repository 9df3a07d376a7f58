"""Writes pictures with libvips' encoders: JPEG by mozjpeg, WebP, AVIF.

Rule 1: files carry no metadata and no profile of their source; WebP and AVIF carry the XMP packet that they are given.
"""

from __future__ import annotations

from fastproc.worker.vips.library import Image, decoding, pyvips


def mozjpeg(image: Image, quality: int) -> bytes:
    """Return a progressive JPEG by libvips' mozjpeg: its trellis and quantisation table, but no search for scans."""
    with decoding():
        saved: bytes = image.jpegsave_buffer(
            Q=quality,
            interlace=True,
            optimize_coding=True,
            trellis_quant=True,
            overshoot_deringing=True,
            quant_table=3,
            subsample_mode="on",
            keep="none",
        )
    return saved


def webp(image: Image, quality: int, xmp: bytes = b"") -> bytes:
    """Return a WebP, with alpha if the picture has it. Effort: tuning.md, "WebP and AVIF effort"."""
    with decoding():
        return bytes(_labelled(image, xmp).webpsave_buffer(Q=quality, effort=2, keep=_keep(xmp)))


def avif(image: Image, quality: int, xmp: bytes = b"") -> bytes:
    """Return an AVIF, with alpha if the picture has it. Effort: tuning.md, "WebP and AVIF effort"."""
    image = _labelled(image, xmp)
    if image.get_typeof("orientation"):
        # It was applied; libvips would write it into the container, whatever `keep` says.
        image = image.copy()
        image.remove("orientation")
    with decoding():
        return bytes(
            image.heifsave_buffer(compression="av1", Q=quality, effort=1, bitdepth=8, keep=_keep(xmp))
        )


def _labelled(image: Image, xmp: bytes) -> Image:
    """Return the picture with this packet in the place of its source's."""
    if not xmp:
        return image
    labelled = image.copy()
    labelled.set_type(pyvips.GValue.blob_type, "xmp-data", xmp)
    return labelled


def _keep(xmp: bytes) -> str:
    return "xmp" if xmp else "none"
