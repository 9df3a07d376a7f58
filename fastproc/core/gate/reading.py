"""What the readers of headers share: the bytes that they get, the reading that they return, a bound for walks."""

from __future__ import annotations

from typing import Final

from fastproc.core.header import Header

#: A file's bytes. A memoryview cannot be searched and slices of it are copied, so slices are kept small.
Buffer = bytes | bytearray | memoryview
#: What the header says, and why the picture is too complex ("" if it is not).
Reading = tuple[Header, str]
#: Most chunks of a PNG or a WebP that are walked. Encoders write chunks of 8 KiB, so this is a file of 480 MB.
MAX_CHUNKS: Final = 60_000


def peak_nits(brightest_pixel: float, display: float) -> float:
    """Return the peak of an HDR picture, in cd/m2, from its content light level and its mastering display; 0: unknown.

    Source: CTA-861.3 (MaxCLL, 0 where it is unknown), SMPTE ST 2086.
    """
    return brightest_pixel or display
