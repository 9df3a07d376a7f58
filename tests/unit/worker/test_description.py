"""What a photo says of itself: precedence, bounds, upright PNGs, positions stripped."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from fastproc.worker import description
from fastproc.worker.xmp import fields as xmp_fields
from tests import pictures
from tests.described import (
    UTF_8,
    alternatives,
    app1_xmp,
    app11,
    app13,
    dataset,
    gif_with,
    iptc,
    jpeg_with,
    jumbf,
    listed,
    orientation,
    png_before_end,
    raw_profile,
    segment,
    text_chunk,
    webp_with,
    xmp,
)
from tests.unit.worker.conftest import OPTIONS, Run

Go = Callable[..., Run]
OPTIMIZING = msgspec.structs.replace(OPTIONS, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000)


def exif(**texts: str) -> bytes:
    """EXIF with these texts: artist, copyright, description, original (a date), title (Windows')."""
    block = Image.Exif()
    tags = {"artist": 0x013B, "copyright": 0x8298, "description": 0x010E}
    block.update({tags[name]: text for name, text in texts.items() if name in tags})
    if "original" in texts:
        block.get_ifd(0x8769)[0x9003] = texts["original"]
    if "title" in texts:
        block[0x9C9B] = texts["title"].encode("utf-16-le")
    return block.tobytes()


def said(run: Go, data: bytes, **changes: Any) -> Any:
    return run(data, options=msgspec.structs.replace(OPTIONS, **changes)).facts.get("descriptive")


XMP = xmp(alternatives("dc:title", "by XMP") + listed("dc:creator", "X"), 'xmp:Rating="4"')
RECORDS = (
    UTF_8
    + dataset(5, b"by IPTC")
    + dataset(80, b"I")
    + dataset(120, b"IPTC's caption")
    + dataset(90, b"Paris")
)
OF_EXIF = exif(artist="E; F", copyright="EXIF's", description="EXIF's caption", title="by Windows")


def test_xmp_comes_before_iptc_and_iptc_before_exif(run: Go) -> None:
    of_iptc = app13(iptc(RECORDS))
    only_exif = {
        "title": "by Windows",
        "description": "EXIF's caption",
        "creator": ["E", "F"],
        "copyright": "EXIF's",
    }
    with_iptc = only_exif | {
        "title": "by IPTC",
        "description": "IPTC's caption",
        "creator": ["I"],
        "city": "Paris",
    }
    with_xmp = with_iptc | {"title": "by XMP", "creator": ["X"], "rating": 4}
    plain = pictures.jpeg(exif=OF_EXIF)
    assert said(run, plain) == only_exif
    assert said(run, jpeg_with(of_iptc, data=plain)) == with_iptc
    assert said(run, jpeg_with(of_iptc, app1_xmp(XMP), data=plain)) == with_xmp


@pytest.mark.parametrize(
    ("digest_of", "title", "creator"),
    [(None, "by XMP", "X"), (RECORDS, "by XMP", "X"), (b"others", "by IPTC", "I")],
)
def test_iptc_that_was_changed_after_xmp_comes_first(
    run: Go, digest_of: bytes | None, title: str, creator: str
) -> None:
    found = said(run, jpeg_with(app13(iptc(RECORDS, digest_of)), app1_xmp(XMP)))
    assert (found["title"], found["creator"], found["rating"]) == (title, [creator], 4)


def test_the_beginning_of_a_text_in_iptc_does_not_hide_the_whole(run: Go) -> None:
    long = "a caption " * 300
    records = dataset(5, b"x" * 64) + dataset(120, long[:2000].encode()) + dataset(110, b"short")
    packet = xmp(
        alternatives("dc:description", long[:2100]) + alternatives("dc:title", "y" * 70),
        'photoshop:Credit="shorter"',
    )
    found = description.merged(*(read(packet, records)), {}, iptc_is_newer=True)
    assert found["description"] == long[:2100].strip()
    assert (found["title"], found["credit"]) == ("x" * 64, "short")


def read(packet: bytes, records: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    return xmp_fields.parse(packet)[0], description.iim.parse(records)[0]


@pytest.mark.parametrize(
    ("attributes", "records", "original", "expected"),
    [
        ('photoshop:DateCreated="2019-01-01"', dataset(55, b"20190202"), "2019:03:03 10:11:12", "2019-01-01"),
        ('exif:DateTimeOriginal="2019-01-01T01:01"', dataset(55, b"20190202"), "", "2019-01-01T01:01"),
        ('xmp:CreateDate="2019-01-01"', dataset(55, b"20190202"), "2019:03:03 10:11:12", "2019-02-02"),
        ('xmp:CreateDate="2019-01-01"', b"", "2019:03:03 10:11:12", "2019-03-03T10:11:12"),
        ('xmp:CreateDate="2019-01-01"', b"", "", "2019-01-01"),
        ("", dataset(55, b"20190303"), "2019:03:03 10:11:12", "2019-03-03T10:11:12"),
        ('photoshop:DateCreated="2019-03"', b"", "2019:03:03 10:11:12", "2019-03-03T10:11:12"),
        ('photoshop:DateCreated="2019-02-30"', b"", "", None),
        ("", b"", "0000:00:00 00:00:00", None),
    ],
)  # fmt: skip
def test_the_capture_date_is_the_best_one_as_exact_as_any_that_agrees(
    run: Go, attributes: str, records: bytes, original: str, expected: str | None
) -> None:
    data = pictures.jpeg(exif=exif(original=original)) if original else pictures.jpeg()
    data = jpeg_with(app1_xmp(xmp(attributes=attributes)), app13(iptc(records)), data=data)
    assert (said(run, data) or {}).get("captureDate") == expected


def test_a_capture_date_of_changed_iptc_comes_first() -> None:
    xmp_dates = {"captureDate": "2019-01-01", "dateTimeOriginal": "2019-01-02"}
    assert description.merged(xmp_dates, {"captureDate": "2019-02-02"}, {}, iptc_is_newer=True) == {
        "captureDate": "2019-02-02"
    }


@pytest.mark.parametrize(
    ("artist", "creator"),
    [
        ("Ann", ["Ann"]),
        ("Ann; Bo;", ["Ann", "Bo"]),
        ('"Ann; the ""first"""; Bo', ['Ann; the "first"', "Bo"]),
        ('Ann "The Eye" Lee', ['Ann "The Eye" Lee']),
        ('"', None),
        (";;", None),
    ],
)
def test_several_artists_of_exif_are_separated_by_semicolons(
    run: Go, artist: str, creator: list[str] | None
) -> None:
    assert (said(run, pictures.jpeg(exif=exif(artist=artist))) or {}).get("creator") == creator


def test_every_container_is_asked(run: Go) -> None:
    expected = {"title": "by XMP", "creator": ["X"], "rating": 4}
    for data in (
        jpeg_with(app1_xmp(XMP)),
        pictures.png_with(text_chunk(b"iTXt", b"XML:com.adobe.xmp", XMP)),
        webp_with((b"XMP ", XMP)),
        gif_with(b"XMP DataXMP", XMP),
        pictures.encoded(pictures.scene(), "AVIF", xmp=XMP, speed=10),
    ):
        assert said(run, data) == expected
    assert said(run, jpeg_with(app11(jumbf()))) == {"contentCredentials": True}
    of_iptc = text_chunk(b"zTXt", b"Raw profile type iptc", raw_profile("iptc", iptc(RECORDS)))
    assert said(run, pictures.png_with(of_iptc)) == {
        "title": "by IPTC",
        "description": "IPTC's caption",
        "creator": ["I"],
        "city": "Paris",
    }  # fmt: skip


PHONE = pictures.SHARED / "photos" / "odd" / "iphone.heic"


@pytest.mark.skipif(not PHONE.is_file(), reason="no ../shared/photos beside the checkout")
def test_xmp_of_a_heic_is_read(run: Go) -> None:
    """There is no HEVC encoder here, so the packet of a phone's photo is written over, up to its length."""
    plain = PHONE.read_bytes()
    start, end = plain.index(b"<?xpacket begin"), plain.index(b"<?xpacket end")
    packet = XMP[: XMP.index(b"<?xpacket end")].rstrip().ljust(end - start)
    assert len(packet) == end - start
    found = said(run, plain[:start] + packet + plain[end:])
    assert (found["title"], found["creator"], found["rating"]) == ("by XMP", ["X"], 4)


def test_a_photo_that_says_nothing_has_no_field_for_it(run: Go) -> None:
    assert "descriptive" not in run(pictures.jpeg()).facts
    assert "descriptive" not in run(jpeg_with(app1_xmp(xmp()))).facts


def test_an_extension_is_read_if_the_packet_names_it(run: Go) -> None:
    name = "0123456789ABCDEF" * 2
    more = xmp(alternatives("dc:title", "of the extension") + alternatives("dc:rights", "R"), wrapped=False)
    part = b"http://ns.adobe.com/xmp/extension/\0" + name.encode() + struct.pack(">II", len(more), 0) + more
    main = xmp(alternatives("dc:title", "T"), f'xmpNote:HasExtendedXMP="{name}"')
    assert said(run, jpeg_with(app1_xmp(main), segment(0xE1, part))) == {"title": "T", "copyright": "R"}
    other = xmp(alternatives("dc:title", "T"), f'xmpNote:HasExtendedXMP="{name[::-1]}"')
    assert said(run, jpeg_with(app1_xmp(other), segment(0xE1, part))) == {"title": "T"}


def test_what_is_too_long_is_cut_and_that_is_told(run: Go) -> None:
    words = [f"word {n}" for n in range(300)]
    packet = xmp(
        alternatives("dc:description", "東" * 3000)
        + listed("dc:subject", *words)
        + listed("dc:creator", "c" * 300, kind="Seq")
    )
    done = run(pictures.png_with(text_chunk(b"iTXt", b"XML:com.adobe.xmp", packet)))
    assert done.facts["descriptive"] == {
        "description": "東" * 2000,
        "creator": ["c" * 200],
        "keywords": words[:200],
    }
    assert done.report.warnings == tuple(
        f"descriptive {name} is too long and was cut" for name in ("description", "creator", "keywords")
    )


@pytest.mark.parametrize(
    ("packet", "warning"),
    [
        (b"<!DOCTYPE a>" + XMP, "XMP was not read to its end: it has a document type"),
        (XMP.replace(b"</rdf:RDF>", b"</x>"), "XMP was not read to its end: mismatched tag"),
    ],
)
def test_a_fault_of_xmp_is_a_warning_and_fails_nothing(run: Go, packet: bytes, warning: str) -> None:
    assert run(jpeg_with(app1_xmp(packet))).report.warnings == (warning,)


def unlike(one: Image.Image, other: Image.Image) -> float:
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB").resize(one.size))
    return max(ImageStat.Stat(difference).mean)


def turned_png(*chunks: bytes, after: bool = False) -> bytes:
    """A PNG that has no orientation but in these chunks."""
    plain = pictures.encoded(pictures.detailed(240, 160), "PNG")
    return png_before_end(*chunks, data=plain) if after else pictures.png_with(*chunks, data=plain)


def profile(name: bytes, value: int) -> bytes:
    return text_chunk(
        b"zTXt", b"Raw profile type " + name, raw_profile("exif", b"Exif\0\0" + orientation(value))
    )


ROTATED = xmp(attributes='tiff:Orientation="{}"').decode()
PLACES: dict[str, Callable[[int], bytes]] = {
    "a chunk": lambda value: turned_png(pictures.png_chunk(b"eXIf", orientation(value, ">"))),
    "a chunk behind the picture": lambda value: turned_png(pictures.png_chunk(b"eXIf", orientation(value)), after=True),
    "a text": lambda value: turned_png(profile(b"exif", value)),
    "a text behind the picture": lambda value: turned_png(profile(b"exif", value), after=True),
    "a plain text": lambda value: turned_png(text_chunk(b"tEXt", b"exif", b"Exif\0\0" + orientation(value))),
    "XMP": lambda value: turned_png(text_chunk(b"iTXt", b"XML:com.adobe.xmp", ROTATED.format(value).encode())),
    "XMP behind the picture": lambda value: turned_png(
        text_chunk(b"iTXt", b"XML:com.adobe.xmp", ROTATED.format(value).encode()), after=True
    ),
    "EXIF and other XMP": lambda value: turned_png(
        profile(b"exif", value), text_chunk(b"iTXt", b"XML:com.adobe.xmp", ROTATED.format(9 - value).encode())
    ),
    "a text that is none of ours": lambda value: turned_png(profile(b"APP1", value)),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_png_is_upright_wherever_pillow_finds_its_orientation(run: Go, place: str, value: int) -> None:
    data = PLACES[place](value)
    opened = Image.open(io.BytesIO(data))
    opened.load()  # Pillow reads what stands behind the picture only then.
    upright = ImageOps.exif_transpose(opened)
    done = run(data, options=OPTIMIZING)
    assert (done.facts["width"], done.facts["height"]) == upright.size
    for name in ("thumb_sm", "thumb_lg", "optimized"):
        assert unlike(done.picture(name), upright) < 5
    expected = None if place == "a text that is none of ours" else value
    assert done.facts["orientation"] == expected


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_xmp_turns_no_other_picture_as_browsers_have_it(run: Go, format: str) -> None:
    packet = ROTATED.format(6).encode()
    data = {
        "jpeg": jpeg_with(app1_xmp(packet)),
        "webp": webp_with((b"XMP ", packet)),
        "avif": pictures.encoded(pictures.scene(), "AVIF", xmp=packet, speed=10),
    }[format]
    done = run(data)
    assert (done.facts["width"], done.facts["height"], done.facts["orientation"]) == (320, 240, None)
    assert unlike(done.picture(), pictures.scene()) < 5


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "AVIF"])
def test_nothing_beside_an_upright_picture_asks_to_turn_it_again(run: Go, kind: str) -> None:
    facts = run(pictures.turned(6, kind)).facts
    assert (facts["width"], facts["height"]) == (320, 240)
    assert "orientation" not in (facts["exif"] or {})
    assert "orientation" not in facts.get("descriptive", {})


PLACE = (
    'exif:GPSLatitude="48,30.6N" exif:GPSLongitude="2,30.6E" exif:GPSTimeStamp="2024-02-29T16:45:09Z"'
    ' photoshop:City="Paris"'
)


def test_positions_of_xmp_are_kept_or_stripped_as_those_of_exif(run: Go) -> None:
    data = jpeg_with(app1_xmp(xmp(attributes=PLACE)))
    assert said(run, data) == {
        "city": "Paris",
        "gps": {"latitude": 48.51, "longitude": 2.51},
        "gpsDateTime": "2024-02-29T16:45:09Z",
    }
    stripped = run(data, options=msgspec.structs.replace(OPTIONS, exif_gps="strip"))
    assert stripped.facts["descriptive"] == {"city": "Paris"}
    assert "48." not in json.dumps(stripped.facts)


def test_a_position_of_exif_is_not_repeated(run: Go) -> None:
    data = jpeg_with(app1_xmp(xmp(attributes=PLACE)), data=pictures.jpeg(exif=pictures.camera_exif()))
    facts = run(data).facts
    assert facts["exif"]["gps"]["latitude"] == -22.9518
    assert set(facts["descriptive"]) == {"city", "captureDate"}
