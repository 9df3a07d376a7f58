"""XMP packets: every form of RDF and every encoding give the same; hostile ones cost little and raise nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastproc.worker.gain_map import xmp as gain_map
from fastproc.worker.xmp import fields, packet
from tests import described
from tests.described import alternatives, listed, xmp
from tests.work import at_most

#: For a megabyte of XML: some tens for each of its 30,000 to 130,000 elements, whatever they are made of.
MAX_LINES = 2_000_000
RDF = f'xmlns:rdf="{described.RDF}"'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'


def read(data: bytes) -> dict[str, Any]:
    found, fault = fields.parse(data)
    assert fault == ""
    return found


WHOLE = xmp(
    alternatives("dc:title", "Größe &lt; 東京 &#x1F4F7;") + listed("dc:creator", "Ann", "Bo", kind="Seq"),
    'photoshop:City="Zürich"',
)
SAID = {"title": "Größe < 東京 📷", "creator": ["Ann", "Bo"], "city": "Zürich"}


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("before", ["", "\ufeff", " \n", "\ufeff "])
@pytest.mark.parametrize("after", ["", "\0" * 40, "   "])
def test_every_encoding_is_read_with_and_without_a_mark_and_padding(
    codec: str, before: str, after: str
) -> None:
    assert read((before + WHOLE.decode() + after).encode(codec)) == SAID


def test_old_encodings_are_read() -> None:
    assert read(xmp("<dc:rights>© Müller</dc:rights>").decode().encode("cp1252", "replace")) == {
        "copyright": "© Müller"
    }


@pytest.mark.parametrize(
    "text",
    [
        '<dc:title>Night</dc:title>',
        '<dc:title xml:lang="de">Night</dc:title>',
        '<dc:title><![CDATA[Night]]></dc:title>',
        '<dc:title>\n  Night\n</dc:title>',
        '<dc:title rdf:resource="Night"/>',
        '<dc:title resource="Night"/>',
        '<dc:title rdf:parseType="Resource"><rdf:value>Night</rdf:value><xmp:Label>x</xmp:Label></dc:title>',
        '<dc:title><rdf:Description><rdf:value>Night</rdf:value></rdf:Description></dc:title>',
        '<dc:title><rdf:Description rdf:value="Night" xmp:Label="x"/></dc:title>',
        '<dc:title rdf:value="Night" xmp:Label="x"/>',
        '<dc:title><rdf:Bag><rdf:li>Night</rdf:li></rdf:Bag></dc:title>',
        '<dc:title><rdf:Alt><rdf:li rdf:parseType="Resource"><rdf:value>Night</rdf:value></rdf:li></rdf:Alt>'
        '</dc:title>',
        '<dc:title><rdf:Alt><rdf:li xml:lang="de">Nacht</rdf:li><rdf:li xml:lang="x-default">Night</rdf:li></rdf:Alt>'
        '</dc:title>',
        '<dc:title><rdf:Alt><rdf:li xml:lang="en">Night</rdf:li><rdf:li xml:lang="de">Nacht</rdf:li></rdf:Alt>'
        '</dc:title>',
        '<q:title xmlns:q="http://purl.org/dc/elements/1.1/">Night</q:title>',
        '<title xmlns="http://purl.org/dc/elements/1.1/">Night</title>',
        '<dc:title xmlns:dc="http://purl.org/dc/elements/1.1">Night</dc:title>',
        '<!-- a remark --><dc:title>Ni<!-- and one inside -->ght</dc:title>',
        '<dc:title>Night</dc:title><dc:title>a second one</dc:title>',
        '<photoshop:History><rdf:Seq><rdf:li><dc:title>inside</dc:title></rdf:li></rdf:Seq></photoshop:History>'
        '<dc:title>Night</dc:title>',
    ],
)  # fmt: skip
def test_a_text_is_read_in_every_form(text: str) -> None:
    assert read(xmp(text)) == {"title": "Night"}
    assert read(xmp(text, wrapped=False)) == {"title": "Night"}


@pytest.mark.parametrize(
    "data",
    [
        f'<r:RDF xmlns:r="{described.RDF}"><r:Description a:title="Night" xmlns:a="http://purl.org/dc/elements/1.1/"/></r:RDF>',
        f'<rdf:RDF {RDF} {DC}><rdf:Description/><rdf:Description dc:title="Night"/></rdf:RDF>',
        f'<RDF xmlns="{described.RDF}" {DC}><Description><dc:title>Night</dc:title></Description></RDF>',
        f'<?xml version="1.0" encoding="UTF-16"?><rdf:RDF {RDF}><rdf:Description {DC} dc:title="Night"/></rdf:RDF>',
        f'<?xpacket begin=""?><?xml version="1.0"?><rdf:RDF {RDF}><rdf:Description {DC} dc:title="Night"/></rdf:RDF>',
        f'<x><y><rdf:RDF {RDF}><rdf:Description {DC} dc:title="Night"/></rdf:RDF></y></x>',
        f'<rdf:RDF {RDF} {DC}><dc:Thing dc:title="Night"/></rdf:RDF>',
        '<rdf:RDF><rdf:Description dc:title="Night"/></rdf:RDF>',
        f'junk before <rdf:RDF {RDF}><rdf:Description {DC} dc:title="Night"/></rdf:RDF><trailing>',
    ],
)  # fmt: skip
def test_a_packet_is_read_in_every_form(data: str) -> None:
    assert read(data.encode()) == {"title": "Night"}


def test_prefixes_mean_what_they_are_declared_to_mean_where_they_are() -> None:
    other = '<dc:title xmlns:dc="http://example.org/other">not this</dc:title>'
    assert read(xmp(other)) == {}
    assert read(xmp(other + "<dc:title>Night</dc:title>")) == {"title": "Night"}


@pytest.mark.parametrize("control", ["\1", "\x0b", "\x1b", "\ufffe"])
def test_what_no_xml_may_have_does_not_end_the_reading(control: str) -> None:
    assert read(xmp(f"<dc:title>Ni{control}ght</dc:title>")) == {"title": "Ni ght"}


def test_what_was_read_before_a_fault_stays_and_the_fault_is_told() -> None:
    broken = xmp("<dc:title>Night</dc:title><dc:rights>mine</dc:title>")
    assert fields.parse(broken) == ({"title": "Night"}, "mismatched tag")
    cut = WHOLE[: WHOLE.index(b"</rdf:Seq>")]
    found, fault = fields.parse(cut)
    assert (found, bool(fault)) == ({"title": SAID["title"], "city": "Zürich"}, True)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"no packet", b"<", b">", b"\xff\xfe", b"<\0", b"\0<", b"\0\0\0<"]
)
def test_what_is_no_packet_says_nothing(data: bytes) -> None:
    found, fault = fields.parse(data)
    assert (found, bool(fault)) == ({}, b">" in data and b"<" in data)


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("type", [BOMB, "<!DOCTYPE x>", '<!DOCTYPE x SYSTEM "file:///etc/passwd">'])
def test_a_document_type_is_refused(type: str) -> None:
    for data in (type + xmp(alternatives("dc:title", "&b;"), wrapped=False).decode(), type + "<x/>"):
        assert fields.parse(data.encode()) == ({}, "it has a document type")


def test_entities_of_nobody_end_the_reading() -> None:
    assert fields.parse(xmp("<dc:title>Night</dc:title><dc:rights>&a;</dc:rights>")) == (
        {"title": "Night"},
        "undefined entity",
    )


def hostile() -> dict[str, bytes]:
    begin, size = f"<rdf:RDF {RDF}><rdf:Description {DC} ", (1 << 20) - 4096
    prefixes = " ".join(f'xmlns:p{n}="http://purl.org/dc/elements/1.1/"' for n in range(16_000))
    long = f'xmlns:a="{"x" * (size // 2)}" ' + " ".join(f'a:b{n}=""' for n in range(40_000))
    return {
        "elements": f"{begin}>{'<a/>' * (size // 4)}",
        "elements of a wanted property": f"{begin}><dc:subject><rdf:Bag>{'<rdf:li/>' * (size // 9)}",
        "levels": "<a>" * (size // 3),
        "levels of a wanted property": f"{begin}><dc:title>{'<rdf:Bag><rdf:li>' * (size // 17)}",
        "attributes": "<a " + " ".join(f"a{n}=''" for n in range(90_000)) + "/>",
        "prefixes": f"{begin}{prefixes} dc:title='x'/>",
        "prefixes on each element": f"{begin}>" + 30 * '<dc:subject xmlns:a="b">' +
        '<a xmlns:a="b" xmlns:b="c"/>' * 30_000,
        "a long address before many names": f"<a {long}/>",
        "references": f"{begin}dc:title='{'&#10;' * (size // 5)}'/>",
        "characters": f"{begin}><dc:title>{'&amp;' * (size // 5)}</dc:title>",
        "beginnings": "<" * size + ">",
        "declarations": "<?xml " * (size // 6) + ">",
        "a long declaration": "<?xml " + " " * size + ">",
        "remarks": f"{begin}>{'<!-- -->' * (size // 8)}",
        "instructions": f"{begin}>{'<?a?>' * (size // 5)}",
        "one long name": f"<{'a' * size}/>",
    }  # fmt: skip


HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_packet_costs_little(name: str) -> None:
    data = HOSTILE[name].encode()[: 1 << 20]
    with at_most(MAX_LINES):
        fields.parse(data)


def peak_kib(*, forget: bool = False) -> int:
    """The most memory that this process has had, or has now if the peak is to be forgotten (proc(5), clear_refs)."""
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


@pytest.mark.parametrize("reader", [lambda data: packet.properties(data, {"dc:title"}), gain_map.properties])
def test_the_address_of_a_namespace_is_not_copied_into_each_name(reader: Callable[[bytes], Any]) -> None:
    """What expat's own namespaces do: 190 MB for this packet of 64 KB, 2 GB for 250 KB (CVE-2025-59375)."""
    data = f'<a xmlns:a="{"x" * 32_000}" ' + " ".join(f'a:b{n}=""' for n in range(3000)) + "/>"
    before = peak_kib(forget=True)
    reader(data.encode())
    assert peak_kib() - before < 50 << 10


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("elements", "it has more than 20000 elements"),
        ("elements of a wanted property", "it has more than 20000 elements"),
        ("levels", "it is more than 64 levels deep"),
        ("levels of a wanted property", "it is more than 64 levels deep"),
    ],
)
def test_a_bound_is_told(name: str, fault: str) -> None:
    assert fields.parse(HOSTILE[name].encode()) == ({}, fault)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(WHOLE)), st.integers(0, 60))
def test_any_bytes_raise_nothing(noise: bytes, at: int, cut: int) -> None:
    fields.parse(WHOLE[:at] + noise + WHOLE[at + cut :])
