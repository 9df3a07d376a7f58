"""Makes the blocks that describe a photo, and files that hold them: XMP, IPTC, EXIF in PNG texts, Content Credentials.

They are put together from bytes here, so that a test's input owes nothing to the code that reads it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from tests import pictures

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
#: Prefixes as most programs choose them.
NAMESPACES = {
    "rdf": RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
}
_XMP_SIGN = b"http://ns.adobe.com/xap/1.0/\0"


def xmp(content: str = "", attributes: str = "", *, wrapped: bool = True) -> bytes:
    """A packet of one description, with usual prefixes, this content and these attributes."""
    names = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    described = f'<rdf:Description rdf:about="" {attributes}>{content}</rdf:Description>'
    meta = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"{names}><rdf:RDF>{described}</rdf:RDF></x:xmpmeta>'
    begin, end = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n',
        "\n" + 400 * " " + '<?xpacket end="w"?>',
    )
    return f"{begin}{meta}{end}".encode() if wrapped else meta.encode()


def alternatives(name: str, text: str) -> str:
    return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></{name}>'


def listed(name: str, *items: str, kind: str = "Bag") -> str:
    return (
        f"<{name}><rdf:{kind}>{''.join(f'<rdf:li>{item}</rdf:li>' for item in items)}</rdf:{kind}></{name}>"
    )


def dataset(number: int, value: bytes, record: int = 2) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


UTF_8 = dataset(90, b"\x1b%G", record=1)


def resource(kind: int, body: bytes, name: bytes = b"") -> bytes:
    """One resource of Photoshop; its name and its body are filled up to even lengths."""
    named = bytes([len(name)]) + name
    return b"8BIM" + struct.pack(">H", kind) + _even(named) + struct.pack(">I", len(body)) + _even(body)


def _even(body: bytes) -> bytes:
    return body + bytes(len(body) & 1)


def iptc(records: bytes, digest_of: bytes | None = None) -> bytes:
    """Resources with IPTC; `digest_of`: the records of which the digest is kept beside them."""
    digest = b"" if digest_of is None else resource(0x0425, hashlib.md5(digest_of).digest())
    return resource(0x03ED, bytes(16)) + resource(0x0404, records) + digest


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_with(*segments: bytes, data: bytes | None = None) -> bytes:
    """A JPEG with segments after its start."""
    whole = data or pictures.jpeg()
    return whole[:2] + b"".join(segments) + whole[2:]


def app1_xmp(packet: bytes) -> bytes:
    return segment(0xE1, _XMP_SIGN + packet)


def app13(resources: bytes, *, cut_every: int = 60_000) -> bytes:
    """The segments of Photoshop's resources; a long one goes on in the next segment."""
    cuts = range(0, len(resources), cut_every)
    return b"".join(segment(0xED, b"Photoshop 3.0\0" + resources[at : at + cut_every]) for at in cuts)


def jumbf(kind: bytes = b"c2pa") -> bytes:
    """A box of boxes with a description of that kind, as C2PA's manifest store is."""
    uuid = kind + bytes.fromhex("00110010800000aa00389b71")
    return pictures.box(b"jumb", pictures.box(b"jumd", uuid, b"\3c2pa\0"), pictures.box(b"json", b"{}"))


def app11(box: bytes) -> bytes:
    return segment(0xEB, b"JP" + struct.pack(">HI", 1, 1) + box)


def text_chunk(kind: bytes, keyword: bytes, text: bytes, *, compressed: bool = True) -> bytes:
    """A text of a PNG: tEXt, zTXt or iTXt."""
    if kind == b"tEXt":
        return pictures.png_chunk(kind, keyword + b"\0" + text)
    body = zlib.compress(text) if compressed or kind == b"zTXt" else text
    if kind == b"zTXt":
        return pictures.png_chunk(kind, keyword + b"\0\0" + body)
    flag = b"\1" if compressed else b"\0"
    return pictures.png_chunk(kind, keyword + b"\0" + flag + b"\0en\0schl\xc3\xbcssel\0" + body)


def raw_profile(name: str, body: bytes) -> bytes:
    """A profile as ImageMagick writes it into a text."""
    digits = body.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{name}\n{len(body):8}\n{lines}\n".encode()


def png_before_end(*chunks: bytes, data: bytes | None = None) -> bytes:
    """A PNG with chunks after its picture."""
    whole = data or pictures.png()
    return whole[:-12] + b"".join(chunks) + whole[-12:]


def webp_with(*chunks: tuple[bytes, bytes], data: bytes | None = None) -> bytes:
    """A WebP with more chunks at its end, its length corrected."""
    added = (kind + struct.pack("<I", len(body)) + _even(body) for kind, body in chunks)
    whole = (data or pictures.webp())[12:] + b"".join(added)
    return b"RIFF" + struct.pack("<I", len(whole) + 4) + b"WEBP" + whole


def gif_with(name: bytes, body: bytes, *, blocks: bool = False, before: bytes = b"") -> bytes:
    """A GIF with an application extension before its picture: as blocks, or as XMP is written, with its trailer.

    `before`: what stands between the GIF's header and the extension.
    """
    whole = pictures.gif()
    at = 13 + (3 << (whole[10] & 7) + 1 if whole[10] & 0x80 else 0)
    if blocks:
        parts = (body[n : n + 255] for n in range(0, len(body), 255))
        written = b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    else:
        written = body + b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return whole[:at] + before + b"!\xff\x0b" + name + written + whole[at:]


def orientation(value: int, order: str = "<") -> bytes:
    """A block of EXIF with nothing but an orientation."""
    return pictures.tiff_block([(0x0112, 3, 1, struct.pack(order + "HH", value, 0))], order=order)
