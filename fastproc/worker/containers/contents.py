"""What a walk through a file finds: blocks that describe the photo, as bytes that nobody has read yet."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

#: Most bytes of one block, inflated and joined. JPEG's own bound for XMP is 64 KB; other files have had some 200 KB.
MAX_BLOCK_BYTES: Final = 1 << 20
#: Packets of XMP that are read; there should be one.
MAX_PACKETS: Final = 4


class Contents(Struct):
    """The blocks of one file. A walk fills it, its readers leave it alone.

    `exif`: only where the decoder does not find it. `turns`: whether its orientation applies. `resources`: those of
    Photoshop, or IPTC records alone. `extensions`: of XMP, by their names. `credentials`: whether there is a C2PA
    manifest. `unread`: what was too large or broken.
    """

    exif: bytes | None = None
    turns: bool = True
    xmp: list[bytes] = field(default_factory=list)
    extensions: dict[str, bytes] = field(default_factory=dict)
    resources: bytes = b""
    credentials: bool = False
    unread: list[str] = field(default_factory=list)

    def add_xmp(self, packet: bytes) -> None:
        """Keep a packet, within the bounds."""
        if len(packet) > MAX_BLOCK_BYTES:
            self.unread.append(f"XMP of {len(packet)} bytes was not read")
        elif len(self.xmp) < MAX_PACKETS:
            self.xmp.append(packet)


def is_manifest_store(box: bytes) -> bool:
    """Return whether a JUMBF box holds C2PA manifests. Source: ISO/IEC 19566-5, 4; C2PA 2.1, 11.1.4.

    Its first box describes it: size, `jumd`, then a type that begins with the four letters.
    """
    return box[4:8] == b"jumb" and box[12:16] == b"jumd" and box[16:20] == b"c2pa"
