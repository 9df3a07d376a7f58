"""The packet of a copy's rights: escaped, small enough for a JPEG, and read by other people's readers as it was."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from fastproc.worker import description, jpeg_segments
from fastproc.worker.xmp import fields, writing
from tests.described import NAMESPACES as NS

NASTY = "</rdf:li> & <b>\"'&amp;]]> é 東京 📷"
RIGHTS = {
    "creator": [NASTY, "Bo"],
    "copyright": NASTY,
    "credit": NASTY,
    "usageTerms": NASTY,
    "webStatement": "https://example.org/?a=1&b=2",
}


def test_the_rights_are_read_back_as_they_were() -> None:
    written = writing.packet([writing.rights(RIGHTS)])
    assert fields.parse(written) == (RIGHTS, "")
    root = ET.fromstring(written.decode().split("?>", 1)[1].rsplit("<?", 1)[0])
    assert [each.text for each in root.findall(".//dc:creator/rdf:Seq/rdf:li", NS)] == RIGHTS["creator"]
    [rights] = root.findall(".//dc:rights/rdf:Alt/rdf:li", NS)
    assert (rights.text, rights.get("{http://www.w3.org/XML/1998/namespace}lang")) == (NASTY, "x-default")
    assert [each.text for each in root.findall(".//photoshop:Credit", NS)] == [NASTY]


def test_nothing_but_rights_is_written() -> None:
    more = {"title": "t", "keywords": ["k"], "city": "c", "gps": {"latitude": 1}}
    assert writing.rights(more) == ""
    assert writing.rights(more | {"creator": [], "credit": ""}) == ""
    described = writing.rights(more | {"credit": "C"})
    assert described.count("xmlns:") == 1
    assert fields.parse(writing.packet([described])) == ({"credit": "C"}, "")


def test_a_packet_may_have_further_descriptions() -> None:
    other = '<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    written = writing.packet([writing.rights(RIGHTS), other])
    assert written.count(b"<rdf:Description") == 2
    assert fields.parse(written) == (RIGHTS, "")


def test_the_longest_rights_that_are_read_fit_into_a_jpeg() -> None:
    """A character takes five bytes at most: four in UTF-8, or `&amp;`."""
    items, chars = description.MAX_LISTS["creator"]
    text = "&" * description.MAX_TEXT_CHARS
    longest = dict.fromkeys(("copyright", "credit", "usageTerms", "webStatement"), text)
    described = writing.rights(longest | {"creator": items * ["&" * chars]})
    beside = jpeg_segments.description({"Container": "http://example.org/"}, {}, "x" * 2000)
    assert len(jpeg_segments.xmp([beside, described])) > 60_000
