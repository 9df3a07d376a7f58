"""What the readers of headers share: the bytes that they get, the reading that they return, a bound for walks."""

from __future__ import annotations

from typing import Final

from fastproc.core.model import Header

#: A file's bytes. A memoryview cannot be searched and slices of it are copied, so slices are kept small.
Buffer = bytes | bytearray | memoryview
#: What the header says, and why the picture is too complex ("" if it is not).
Reading = tuple[Header, str]
#: Most chunks of a PNG or a WebP that are walked. Encoders write chunks of 8 KiB, so this is a file of 480 MB.
MAX_CHUNKS: Final = 60_000
