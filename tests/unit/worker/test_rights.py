"""KEEP_RIGHTS: the optimised copy says whose the photo is, in every format, and nothing else; by default nothing."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from fastproc.worker.xmp import fields as xmp_fields
from tests import gain_maps, pictures
from tests.described import NAMESPACES, alternatives, app1_xmp, app13, dataset, iptc, jpeg_with, listed, xmp
from tests.unit.worker.conftest import OPTIONS, Run

Go = Callable[..., Run]
OPTIMIZING = msgspec.structs.replace(OPTIONS, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000)
KEEPING = msgspec.structs.replace(OPTIMIZING, keep_rights=True)
PLACE = 'exif:GPSLatitude="48,30.6N" exif:GPSLongitude="2,30.6E" photoshop:City="Paris"'


def by_others(picture: Image.Image) -> dict[str, Any]:
    """The rights as Pillow finds them in the file, and Python's own parser in the packet."""
    root = ET.fromstring(picture.info["xmp"].decode().split("?>", 1)[1].rsplit("<?", 1)[0])
    [described] = root.findall("rdf:RDF/rdf:Description", NAMESPACES)

    def texts(path: str) -> list[str | None]:
        return [element.text for element in described.findall(path, NAMESPACES)]

    assert len(described) == len({element.tag for element in described})
    found = {
        "creator": texts("dc:creator/rdf:Seq/rdf:li"),
        "credit": texts("photoshop:Credit"),
        "copyright": texts("dc:rights/rdf:Alt/rdf:li"),
        "usageTerms": texts("xmpRights:UsageTerms/rdf:Alt/rdf:li"),
        "webStatement": texts("xmpRights:WebStatement"),
    }
    assert sum(bool(values) for values in found.values()) == len(described), "nothing else is said"
    return {name: values if name == "creator" else values[0] for name, values in found.items() if values}


def unlike(one: Image.Image, other: Image.Image) -> float:
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB").resize(one.size))
    return max(ImageStat.Stat(difference).mean)


NAME = "Müller & Söhne <foto>"
RIGHTS = {
    "creator": [NAME, "Bo"],
    "credit": "C",
    "copyright": NAME,
    "usageTerms": "U",
    "webStatement": "https://a.b/?c&d",
}
OWNED = xmp(
    listed("dc:creator", NAME.replace("&", "&amp;").replace("<", "&lt;"), "Bo", kind="Seq")
    + alternatives("dc:rights", NAME.replace("&", "&amp;").replace("<", "&lt;"))
    + alternatives("dc:title", "secret title")
    + alternatives("xmpRights:UsageTerms", "U")
    + "<xmpRights:WebStatement>https://a.b/?c&amp;d</xmpRights:WebStatement>",
    f'photoshop:Credit="C" {PLACE}',
)


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_the_copy_keeps_the_rights_and_nothing_else(run: Go, format: Any) -> None:
    data = jpeg_with(app1_xmp(OWNED), data=pictures.jpeg(exif=pictures.camera_exif()))
    done = run(data, options=msgspec.structs.replace(KEEPING, optimize_format=format))
    picture = done.picture("optimized")
    assert by_others(picture) == RIGHTS
    assert unlike(picture, ImageOps.exif_transpose(Image.open(io.BytesIO(data)))) < 5
    body = done.bytes_of("optimized")
    for trace in (b"Exif\0", b"Acme", b"secret", b"Paris", b"GPS", b"ICC_PROFILE"):
        assert trace not in body
    assert b"M\xc3\xbcller" not in done.bytes_of("thumb_lg")


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_the_copy_says_nothing_by_default_and_where_there_is_nothing_to_say(run: Go, format: Any) -> None:
    owned = jpeg_with(app1_xmp(OWNED))
    for data, options in (
        (owned, OPTIMIZING),
        (pictures.jpeg(), KEEPING),
        (jpeg_with(app1_xmp(xmp(attributes=PLACE))), KEEPING),
    ):
        done = run(data, options=msgspec.structs.replace(options, optimize_format=format))
        assert "xmp" not in done.picture("optimized").info
        assert b"ns.adobe.com" not in done.bytes_of("optimized")


def test_the_bytes_of_the_rights_count_against_the_saving(run: Go) -> None:
    data = jpeg_with(app1_xmp(OWNED))
    kept, plain = (
        run(data, options=options).report.facts["optimization"] for options in (KEEPING, OPTIMIZING)
    )
    assert kept["optimizedSize"] - plain["optimizedSize"] > 500


def test_rights_of_exif_and_iptc_are_kept_too(run: Go) -> None:
    owned = Image.Exif()
    owned.update({0x013B: "Ann", 0x8298: "hers"})
    data = jpeg_with(app13(iptc(dataset(110, b"Agency"))), data=pictures.jpeg(exif=owned))
    picture = run(data, options=KEEPING).picture("optimized")
    assert by_others(picture) == {
        "creator": ["Ann"],
        "copyright": "hers",
        "credit": "Agency",
    }


@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_a_copy_with_a_gain_map_says_the_rights_in_its_one_packet(run: Go, policy: Any) -> None:
    owned = Image.Exif()
    owned[0x013B] = "Ann"
    data = gain_maps.ultra_hdr(pictures.jpeg(exif=owned))
    done = run(data, options=msgspec.structs.replace(KEEPING, gain_map=policy))
    assert done.report.facts["optimization"]["gainMap"] == ("kept" if policy == "keep" else "dropped")
    body = done.bytes_of("optimized")
    first = body[: body.rindex(b"\xff\xd8\xff")] if policy == "keep" else body
    assert first.count(b"http://ns.adobe.com/xap/1.0/\0") == 1
    packet = done.picture("optimized").info["xmp"]
    assert xmp_fields.parse(packet) == ({"creator": ["Ann"]}, "")
    assert (b"hdrgm:Version" in packet) == (policy == "keep")
