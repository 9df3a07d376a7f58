"""XMP's fields: each from its property, in its type, and nothing that is none."""

from __future__ import annotations

from typing import Any

import pytest

from fastproc.worker.xmp import fields
from tests.described import alternatives, listed, xmp


def read(content: str = "", attributes: str = "", **options: bool) -> dict[str, Any]:
    found, fault = fields.parse(xmp(content, attributes), **options)
    assert fault == ""
    return found


def test_every_field_is_read_from_its_property() -> None:
    content = (
        alternatives("dc:title", "T")
        + alternatives("dc:description", "D")
        + listed("dc:creator", "A", "B", kind="Seq")
        + alternatives("dc:rights", "R")
        + listed("dc:subject", "k", "l", "k", " ")
        + alternatives("xmpRights:UsageTerms", "U")
        + "<xmpRights:WebStatement>https://example.org/</xmpRights:WebStatement>"
        + "<Iptc4xmpExt:DigitalSourceType>digitalCapture</Iptc4xmpExt:DigitalSourceType>"
    )
    attributes = (
        'photoshop:Credit="C" photoshop:City="Y" photoshop:Country="X" xmp:Rating="3"'
        ' photoshop:DateCreated="2019-05-04" exif:DateTimeOriginal="2019-05-04T10:11:12"'
        ' xmp:CreateDate="2020" tiff:Orientation="6" xmpNote:HasExtendedXMP="00112233445566778899AABBCCDDEEFF"'
    )
    assert read(content, attributes) == {
        "title": "T",
        "description": "D",
        "creator": ["A", "B"],
        "credit": "C",
        "copyright": "R",
        "usageTerms": "U",
        "webStatement": "https://example.org/",
        "keywords": ["k", "l"],
        "rating": 3,
        "captureDate": "2019-05-04",
        "dateTimeOriginal": "2019-05-04T10:11:12",
        "createDate": "2020",
        "city": "Y",
        "country": "X",
        "digitalSourceType": "digitalCapture",
        "orientation": 6,
        "extension": "00112233445566778899AABBCCDDEEFF",
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("5", 5),
        ("3.0", 3),
        ("-1", -1),
        ("0", 0),
        ("6", None),
        ("-2", None),
        ("five", None),
        ("٣", None),
        ("1e0", None),
    ],
)
def test_a_rating_is_a_number_from_rejected_to_five(written: str, expected: int | None) -> None:
    assert read(attributes=f'xmp:Rating="{written}"').get("rating") == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia", "trainedAlgorithmicMedia"),
        ("https://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic/", "compositeSynthetic"),
        ("digsrctype:digitalCapture", "digitalCapture"),
        (" digitalArt ", "digitalArt"),
        ("http://example.org/a b", None),
        ("<script>", None),
        ("x" * 65, None),
        ("", None),
    ],
)
def test_a_source_type_is_a_name_or_an_address_that_ends_with_it(written: str, expected: str | None) -> None:
    escaped = written.replace("<", "&lt;")
    for content in (
        f"<Iptc4xmpExt:DigitalSourceType>{escaped}</Iptc4xmpExt:DigitalSourceType>",
        f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{escaped}"/>',
    ):
        assert read(content).get("digitalSourceType") == expected


def test_a_place_is_told_in_the_simple_way_or_as_where_it_was_taken_or_shows() -> None:
    def place(name: str, city: str) -> str:
        body = (
            f"<Iptc4xmpExt:City>{city}</Iptc4xmpExt:City><Iptc4xmpExt:CountryName>X</Iptc4xmpExt:CountryName>"
        )
        return f'<{name}><rdf:Bag><rdf:li rdf:parseType="Resource">{body}</rdf:li></rdf:Bag></{name}>'

    created, shown = place("Iptc4xmpExt:LocationCreated", "A"), place("Iptc4xmpExt:LocationShown", "B")
    assert read(shown + created) == {"city": "A", "country": "X"}
    assert read(shown) == {"city": "B", "country": "X"}
    assert read(shown + created, 'photoshop:City="C"') == {"city": "C", "country": "X"}


REGION = '<rdf:li rdf:parseType="Resource"><mwg-rs:Name>N</mwg-rs:Name><mwg-rs:Type>{}</mwg-rs:Type></rdf:li>'
SHORT = '<rdf:li><rdf:Description mwg-rs:Name="N" mwg-rs:Type="{}"><mwg-rs:Area/></rdf:Description></rdf:li>'


def regions(*kinds: str, form: str = REGION) -> str:
    items = "".join(form.format(kind) for kind in kinds)
    return (
        '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions mwg-rs:w="9"/>'
        f"<mwg-rs:RegionList><rdf:Bag>{items}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


def people(count: int) -> str:
    items = count * '<rdf:li MPReg:PersonDisplayName="N"/>'
    return (
        f"<MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag>{items}</rdf:Bag></MPRI:Regions></rdf:Description>"
        "</MP:RegionInfo>"
    )


@pytest.mark.parametrize(
    ("content", "faces"),
    [
        (regions("Face", "Pet", "Face", "BarCode"), 2),
        (regions("Face", "face", "Focus", form=SHORT), 2),
        (regions("Pet"), None),
        (regions(), None),
        (people(3), 3),
        (regions("Face") + people(2), 2),
        (regions("Face", "Face") + people(2), 2),
        ("", None),
    ],
)
def test_faces_are_counted_once_whoever_wrote_them(content: str, faces: int | None) -> None:
    assert read(content).get("faces") == faces


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ("48,30.6N", "2,30,36E", (48.51, 2.51)),
        ("48,30.6S", "2,30.6W", (-48.51, -2.51)),
        ("48N", "2E", (48, 2)),
        ("0,0.0N", "0,0.0E", None),
        ("91,0N", "2,0E", None),
        ("48,30.6E", "2,30.6N", None),
        ("48.5", "2.5", None),
        ("48,30.6N", "", None),
    ],
)
def test_a_position_has_degrees_minutes_and_a_direction(
    latitude: str, longitude: str, expected: tuple[float, float] | None
) -> None:
    attributes = f'exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}"'
    place = expected and {"latitude": expected[0], "longitude": expected[1]}
    assert read(attributes=attributes).get("gps") == place


def test_a_position_goes_with_its_time_and_height_if_it_is_to_be_stripped() -> None:
    attributes = (
        'exif:GPSLatitude="48,30.6N" exif:GPSLongitude="2,30.6E" exif:GPSAltitude="25/2" exif:GPSAltitudeRef="1"'
        ' exif:GPSTimeStamp="2024-02-29T16:45:09Z" photoshop:City="Paris"'
    )
    assert read(attributes=attributes) == {
        "gps": {"latitude": 48.51, "longitude": 2.51, "altitude": -12.5},
        "gpsDateTime": "2024-02-29T16:45:09Z",
        "city": "Paris",
    }
    assert read(attributes=attributes, with_position=False) == {"city": "Paris"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2024-02-29T16:45:09", "2024-02-29T16:45:09Z"),
        ("2024-02-29T16:45:09.5Z", "2024-02-29T16:45:09.5Z"),
        ("2024-02-29T17:45:09+01:00", None),
        ("2024-02-29", None),
        ("16:45:09", None),
    ],
)
def test_the_satellites_clock_is_whole_and_in_utc(written: str, expected: str | None) -> None:
    assert read(attributes=f'exif:GPSTimeStamp="{written}"').get("gpsDateTime") == expected


@pytest.mark.parametrize("written", ["0", "9", "six", ""])
def test_an_orientation_that_means_nothing_is_left_out(written: str) -> None:
    assert read(attributes=f'tiff:Orientation="{written}"') == {}


def test_an_endless_list_is_not_read_to_its_end() -> None:
    words = [f"w{n}" for n in range(3000)]
    assert read(listed("dc:subject", *words))["keywords"] == words[:1000]
