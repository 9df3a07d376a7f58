"""Knows XMP's namespaces: a property is called by one short name here, whatever prefix its writer chose.

Source: XMP specification (ISO 16684-1), part 2 (Additional properties); IPTC Photo Metadata; MWG 2.0; C2PA; Microsoft
and Apple for their regions. Some writers leave out the last character of an address, or use an old one of Dublin Core.
"""

from __future__ import annotations

from typing import Final

ADDRESSES: Final = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
}
XML: Final = "xml"
_OLD: Final = {"http://purl.org/dc/1.1": "dc", "http://purl.org/dc/elements/1.0": "dc"}
_SHORT: Final = {address.rstrip("/#"): short for short, address in ADDRESSES.items()} | _OLD


def short(address: str) -> str:
    """Return the short name of a namespace; "" for one of which nothing is read."""
    return _SHORT.get(address.strip().rstrip("/#"), "")
