"""What the gate reads from a file's header, before anything is decoded."""

from __future__ import annotations

from msgspec import Struct

from fastproc.core.colours import ColourTag


class Preview(Struct, frozen=True, kw_only=True):
    """Where a raw file of kind `container` has the JPEG that is processed; `offset` and `size` are in bytes.

    `orientation` is the one to apply, None for the JPEG's own; `sensor`: sides as stored, 0 if they are not known.
    """

    container: str
    offset: int
    size: int
    orientation: int | None = None
    sensor: tuple[int, int] = (0, 0)


class Header(Struct, frozen=True, kw_only=True):
    """What the gate read from a file's header, before any decoding.

    `width` and `height` are as stored, not as displayed; `decoded_bytes` estimates the memory of the decoder; `whole`
    is False where the container shows that the file is cut short; `gain_map` is True if there is a second picture
    with the brightness of the first on HDR screens (UltraHDR, ISO 21496-1, Apple's); `grey` is True where a HEIF
    file's picture is coded without colour, `profiled` where the file seems to have a colour profile; `preview` is
    there for a raw file: the rest describes that JPEG.
    """

    format: str
    width: int
    height: int
    frames: int = 1
    scans: int = 1
    decoded_bytes: int = 0
    progressive: bool = False
    whole: bool = True
    gain_map: bool = False
    colour: ColourTag | None = None
    grey: bool = False
    profiled: bool = False
    preview: Preview | None = None
