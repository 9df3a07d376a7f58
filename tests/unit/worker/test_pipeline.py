"""The four stages over every kind of picture: facts, sizes, orientation, colours, integrity, and the boundary."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms, ImageOps, ImageStat

from fastproc.core.errors import FileCorrupted, MimeMismatch
from fastproc.core.model import Format, Limits, Options, ThumbnailSpec
from fastproc.ipc import messages
from fastproc.ipc.messages import Done, Failed
from fastproc.worker import facts, source, stage
from fastproc.worker.colour.conversion import decide
from fastproc.worker.pipeline import Pipeline
from fastproc.worker.stages.validation import declared_format
from fastproc.worker.vips import colours, opening
from tests import pictures
from tests.unit.worker.conftest import ENCODERS, OPTIONS, Run

Go = Callable[..., Run]
OPTIMIZING = msgspec.structs.replace(OPTIONS, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000)


def unlike(one: Image.Image, other: Image.Image) -> float:
    """The largest mean difference of a channel, 0 to 255."""
    difference = ImageChops.difference(
        one.convert("RGB"), other.convert("RGB").resize(one.size, Image.Resampling.LANCZOS)
    )
    return max(ImageStat.Stat(difference).mean)


def test_a_photo_ends_with_facts_thumbnails_and_progress_in_order(run: Go) -> None:
    done = run(pictures.jpeg(1600, 1200))
    assert done.progress == list(Options().stages)
    assert [(r.name, r.width, r.height) for r in done.report.renditions] == [
        ("thumb_sm", 150, 113),
        ("thumb_md", 300, 225),
        ("thumb_lg", 600, 450),
    ]
    for rendition in done.report.renditions:
        picture = done.picture(rendition.name)
        assert picture.format == "JPEG"
        assert picture.size == (rendition.width, rendition.height)
        assert picture.info.get("progressive")
        assert unlike(picture, pictures.scene(1600, 1200)) < 4
    assert set(done.report.timings_ms) == set(done.progress)
    assert done.report.cpu_ms > 0
    assert done.report.peak_rss_bytes > 10 << 20
    assert done.report.warnings == ()


def test_a_photo_is_decoded_once_whether_it_has_an_optimised_copy_or_not(run: Go) -> None:
    assert run(pictures.jpeg(1600, 1200)).report.decodes == 1
    assert run(pictures.png()).report.decodes == 1
    assert run(pictures.jpeg(1600, 1200), options=OPTIMIZING).report.decodes == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("name", ["thumb_lg", "optimized"])
def test_every_orientation_is_applied_and_gone(run: Go, orientation: int, kind: str, name: str) -> None:
    data = pictures.turned(orientation, kind)
    done = run(data, options=OPTIMIZING)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert unlike(upright, pictures.scene()) < 4, "the test's own picture is not what it should be"
    picture = done.picture(name)
    assert picture.size == (320, 240)
    assert unlike(picture, upright) < 4
    assert "exif" not in picture.info
    assert (done.facts["width"], done.facts["height"], done.facts["orientation"]) == (320, 240, orientation)


def test_large_pictures_are_turned_after_a_reduced_decode_and_a_streamed_one(run: Go) -> None:
    done = run(pictures.turned(6, width=2500, height=1875), options=OPTIMIZING)
    assert done.picture().size == (600, 450)
    assert done.picture("optimized").size == (2500, 1875)
    for name in ("thumb_lg", "optimized"):
        assert unlike(done.picture(name), pictures.scene(2500, 1875)) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rotation_of_an_avifs_container_is_applied_once(run: Go, orientation: int) -> None:
    done = run(pictures.turned(orientation, "AVIF"), options=OPTIMIZING)
    assert (done.facts["width"], done.facts["height"]) == (320, 240)
    for name in ("thumb_lg", "optimized"):
        assert done.picture(name).size == (320, 240)
        assert unlike(done.picture(name), pictures.scene()) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_giant_is_turned_in_slices_to_the_same_file(
    run: Go, monkeypatch: pytest.MonkeyPatch, orientation: int, mode: str
) -> None:
    data = pictures.turned(orientation, shown=pictures.detailed(501, 367, mode))
    at_once = run(data, options=OPTIMIZING)
    monkeypatch.setattr(source, "MAX_SLICE_BYTES", 3 * 501 * 367 // 4)
    in_slices = run(data, options=OPTIMIZING)
    assert in_slices.bytes_of("optimized") == at_once.bytes_of("optimized")
    assert (at_once.report.decodes, in_slices.report.decodes) == (1, 1 if orientation < 3 else 6)


PHONE = pictures.SHARED / "photos" / "odd" / "iphone.heic"
#: The box's name and its byte: quarters of a turn against the clock, or the axis of a mirror (ISO 23008-12, 6.5.10).
CONTAINERS = [
    (b"irot", 1, Image.Transpose.ROTATE_90),
    (b"irot", 2, Image.Transpose.ROTATE_180),
    (b"irot", 3, Image.Transpose.ROTATE_270),
    (b"imir", 0, Image.Transpose.FLIP_TOP_BOTTOM),
    (b"imir", 1, Image.Transpose.FLIP_LEFT_RIGHT),
]


@pytest.mark.skipif(not PHONE.is_file(), reason="no ../shared/photos beside the checkout")
@pytest.mark.parametrize(("box", "value", "means"), CONTAINERS)
def test_the_rotation_and_mirror_of_a_heics_container_are_applied(
    run: Go, box: bytes, value: int, means: Image.Transpose
) -> None:
    """There is no HEVC encoder here, so a phone's photo gets another rotation: its own `irot` says "none"."""
    plain = PHONE.read_bytes()
    at = plain.index(b"irot")
    assert plain[at + 4] == 0
    done = run(plain[:at] + box + bytes([value]) + plain[at + 5 :])
    expected = run(plain).picture().transpose(means)
    assert done.picture().size == expected.size
    assert unlike(done.picture(), expected) < 4


def test_a_gain_map_is_reported_and_leaves_no_trace_in_renditions_without_one(run: Go) -> None:
    data = pictures.gain_map(pictures.detailed(400, 300))
    done = run(data, options=msgspec.structs.replace(OPTIMIZING, gain_map="drop"))
    assert done.facts["gainMap"] is True
    assert "gainMap" not in run(pictures.jpeg(exif=pictures.camera_exif())).facts
    assert b"urn:iso:std:iso:ts:21496:-1" in data
    assert b"MPF\0" in data
    for rendition in done.report.renditions:
        body = done.bytes_of(rendition.name)
        for trace in (b"hdrgm", b"MPF\0", b"21496", b"http", b"GContainer"):
            assert trace not in body
        assert body.count(b"\xff\xd8\xff") == 1, "one picture, nothing after it"
        assert body.endswith(b"\xff\xd9")
    shown = Image.open(io.BytesIO(data)).convert("RGB")
    own = ImageCms.ImageCmsProfile(io.BytesIO(shown.info["icc_profile"]))
    srgb = ImageCms.createProfile("sRGB")
    assert unlike(done.picture("optimized"), ImageCms.profileToProfile(shown, own, srgb)) < 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_ignored(run: Go, orientation: int) -> None:
    done = run(pictures.turned(orientation))
    assert done.facts["orientation"] in (None, 1)
    assert unlike(done.picture(), pictures.scene()) < 4


def test_exif_and_position_do_not_reach_the_renditions(run: Go) -> None:
    done = run(pictures.jpeg(exif=pictures.camera_exif(), comment=b"secret"), options=OPTIMIZING)
    assert done.facts["exif"]["gps"]["latitude"] == -22.9518
    for rendition in done.report.renditions:
        body = done.bytes_of(rendition.name)
        for trace in (b"Exif", b"Acme", b"secret", b"ICC_PROFILE", b"http"):
            assert trace not in body


def test_the_position_is_not_in_the_facts_if_it_is_to_be_stripped(run: Go) -> None:
    data = pictures.jpeg(exif=pictures.camera_exif())
    kept, stripped = (
        run(data, options=msgspec.structs.replace(OPTIONS, exif_gps=policy)) for policy in ("keep", "strip")
    )
    assert set(kept.facts["exif"]) - set(stripped.facts["exif"]) == {"gps"}
    assert "-22.9518" in json.dumps(kept.report.facts)
    assert "22.9518" not in json.dumps(stripped.report.facts)


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (pictures.jpeg(dpi=(300, 300)), {"density": 300, "space": "srgb", "channels": 3, "depth": "uchar"}),
        (pictures.jpeg(subsampling="4:2:0"), {"chromaSubsampling": "4:2:0", "isProgressive": False}),
        (
            pictures.jpeg(subsampling="4:4:4", progressive=True),
            {"chromaSubsampling": "4:4:4", "isProgressive": True},
        ),
        (pictures.jpeg(mode="L"), {"space": "b-w", "channels": 1, "hasAlpha": False}),
        (pictures.jpeg(mode="CMYK"), {"space": "cmyk", "channels": 4, "hasAlpha": False}),
        (
            pictures.png(mode="RGBA"),
            {"space": "srgb", "channels": 4, "hasAlpha": True, "chromaSubsampling": None},
        ),
        (pictures.png(mode="LA"), {"space": "b-w", "channels": 2, "hasAlpha": True}),
        (pictures.png(mode="P"), {"space": "srgb", "channels": 3, "hasAlpha": False}),
        (pictures.png(mode="1"), {"space": "b-w", "channels": 1, "depth": "uchar"}),
        (
            pictures.encoded(Image.new("I;16", (300, 200), 30000), "PNG"),
            {"space": "grey16", "depth": "ushort"},
        ),
        (pictures.webp(), {"format": "webp", "density": None, "exif": None, "orientation": None}),
        (pictures.avif(), {"format": "avif", "space": "srgb", "isProgressive": False}),
        (pictures.gif(), {"format": "gif", "space": "srgb"}),
    ],
)
def test_facts_are_those_of_the_file(run: Go, data: bytes, facts: dict[str, object]) -> None:
    found = run(data).facts
    assert {key: found[key] for key in facts} == facts
    assert "frames" not in found


def test_metadata_has_exactly_the_fields_of_the_contract(run: Go) -> None:
    fields = "format width height space channels depth density hasAlpha orientation isProgressive chromaSubsampling"
    assert set(run(pictures.jpeg()).facts) == {*fields.split(), "dominantColor", "brightness", "exif"}


def test_facts_are_json(run: Go) -> None:
    report = run(pictures.jpeg(exif=pictures.camera_exif())).report
    assert json.loads(json.dumps(report.facts, allow_nan=False)) == report.facts


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PNG", "AVIF"])
def test_the_first_frame_of_an_animation_is_used_and_their_number_recorded(run: Go, kind: str) -> None:
    done = run(pictures.animated(kind, frames=5))
    assert done.facts["frames"] == 5
    assert (done.facts["width"], done.facts["height"]) == (160, 120)
    assert unlike(done.picture(), pictures.scene(160, 120)) < 8


def test_colour_and_brightness_are_those_of_the_picture(run: Go) -> None:
    picture = Image.new("RGB", (300, 200), (250, 250, 250))
    picture.paste((20, 40, 200), (0, 0, 180, 200))
    facts = run(pictures.encoded(picture, "PNG")).facts
    blue = facts["dominantColor"]
    assert abs(blue["r"] - 20) < 4
    assert abs(blue["b"] - 200) < 4
    assert facts["brightness"] == pytest.approx(
        (0.6 * (0.2126 * 20 + 0.7152 * 40 + 0.0722 * 200) + 0.4 * 250) / 255, abs=0.01
    )


@pytest.mark.parametrize("name", ["thumb_lg", "optimized"])
def test_display_p3_is_converted_before_its_profile_is_dropped(run: Go, name: str) -> None:
    """(200, 120, 60) in Display-P3 is (213, 115, 43) in sRGB; dropping the profile would keep the numbers."""
    picture = run(pictures.display_p3(), options=OPTIMIZING).picture(name)
    assert picture.info.get("icc_profile") is None
    assert all(abs(a - b) <= 6 for a, b in zip(picture.getpixel((100, 100)), (213, 115, 43), strict=True))


class Rows(msgspec.Struct):
    """Rows of pixels as a decoder gives them."""

    pixels: bytes
    width: int
    height: int
    row_bytes: int
    bits: int = 8


def test_pixels_without_a_file_are_converted_through_their_profile_too() -> None:
    rows = Rows(bytes((200, 120, 60)) * 100, 10, 10, 30)
    profile = pictures.profile("p3")
    converted, warning = colours.to_srgb(opening.from_planes([(rows, 3)]), decide(profile, None))
    assert warning == ""
    assert all(abs(a - b) <= 3 for a, b in zip(converted.getpoint(5, 5), (213, 115, 43), strict=True))


@pytest.mark.parametrize("padding", range(6))
@pytest.mark.parametrize("bits", [8, 10])
def test_rows_may_be_padded_by_any_number_of_samples(padding: int, bits: int) -> None:
    values = np.arange(3 * 5 * 7).reshape(7, 15) * (1 if bits == 8 else 9)
    padded = np.pad(values, ((0, 0), (0, padding)), constant_values=255).astype("u1" if bits == 8 else "<u2")
    rows = Rows(padded.tobytes(), 5, 7, padded.strides[0], bits)
    picture = opening.from_planes([(rows, 3)])
    shown = np.frombuffer(picture.write_to_memory(), "u1").reshape(7, 15)
    assert (shown == values >> (bits - 8)).all()


def test_a_profile_that_cannot_be_read_is_dropped(run: Go) -> None:
    done = run(pictures.jpeg(icc_profile=b"nonsense" * 30))
    assert unlike(done.picture(), pictures.scene()) < 4


@pytest.mark.parametrize("mode", ["L", "CMYK", "1", "P"])
def test_other_colour_spaces_come_out_as_srgb_looking_the_same(run: Go, mode: str) -> None:
    data = pictures.jpeg(mode=mode) if mode in ("L", "CMYK") else pictures.png(mode=mode)
    picture = run(data, options=OPTIMIZING).picture("optimized")
    assert picture.mode == ("L" if mode in ("L", "1") else "RGB")
    # Dither is averaged out. Without a profile CMYK is inexact: libvips assumes a press, Pillow inverts.
    small, original = (each.convert("RGB").reduce(8) for each in (picture, Image.open(io.BytesIO(data))))
    assert unlike(small, original) < (60 if mode == "CMYK" else 6)


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_pixels_become_white_and_do_not_bleed(run: Go, depth: int) -> None:
    """The hidden colour of transparent pixels is a strong one, which shows if it is mixed in."""
    picture = Image.new("RGBA", (400, 400), (255, 0, 255, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 200, 400))
    data = pictures.encoded(picture, "PNG")
    if depth == 16:
        wide = pictures.pyvips.Image.new_from_buffer(data, "").cast("ushort") * 257
        data = bytes(wide.cast("ushort").copy(interpretation="rgb16").pngsave_buffer(bitdepth=16))
    shown = run(data).picture("thumb_sm").convert("RGB")
    for x in (*range(72), *range(79, 150)):
        red, green, blue = shown.getpixel((x, 75))
        assert max(red, green, blue) - min(red, green, blue) < 12
    assert min(shown.getpixel((140, 75))) > 250


def test_palette_transparency_becomes_white(run: Go) -> None:
    picture = Image.new("P", (200, 200), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    done = run(pictures.encoded(picture, "PNG", transparency=0))
    assert done.facts["hasAlpha"]
    assert min(done.picture().getpixel((100, 100))) > 250


def test_sixteen_bits_are_reduced_to_eight_not_cut(run: Go) -> None:
    done = run(pictures.encoded(Image.new("I;16", (300, 200), 0x8000), "PNG"))
    assert all(abs(value - 128) < 4 for value in done.picture().convert("RGB").getpixel((9, 9)))


@pytest.mark.parametrize("cut", [2, 3, 20, 200, 2000, 0.5])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_short_is_corrupted_however_little_is_missing(
    run: Go, cut: float, progressive: bool
) -> None:
    whole = pictures.jpeg(1500, 1100, progressive=progressive)
    data = whole[: -int(cut if cut > 1 else len(whole) * cut)]
    if cut == 2:
        assert run(data).code in ("done", "FILE_CORRUPTED")  # The end marker alone carries no picture.
        return
    answer = run(data).answer
    assert isinstance(answer, Failed)
    assert (answer.code, answer.stage) == (FileCorrupted.code, "validation")
    assert answer.message


@pytest.mark.parametrize("make", [pictures.png, pictures.webp, pictures.avif, pictures.gif])
def test_half_a_file_of_any_format_is_corrupted(run: Go, make: Callable[[], bytes]) -> None:
    whole = make()
    assert run(whole[: len(whole) // 2]).code == FileCorrupted.code


def test_a_png_with_a_damaged_chunk_is_corrupted(run: Go) -> None:
    whole = bytearray(pictures.png())
    at = whole.find(b"IDAT") + 40
    whole[at] ^= 0xFF
    assert run(bytes(whole)).code == FileCorrupted.code


def test_a_png_with_a_latin_1_keyword_is_a_good_picture(run: Go) -> None:
    data = pictures.png_with(pictures.png_chunk(b"tEXt", b"Caf\xe9\0x"))
    assert run(data).code == "done"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3000), (3000, 1), (5000, 3), (3, 5000), (7, 4801)])
@pytest.mark.parametrize("make", [pictures.jpeg, pictures.png])
def test_the_thinnest_pictures_are_processed(run: Go, make: Go, width: int, height: int) -> None:
    data = make(width, height) if min(width, height) > 8 else None
    data = data or pictures.encoded(Image.new("RGB", (width, height), (9, 99, 199)), make.__name__.upper())
    for rendition in run(data, options=OPTIMIZING).report.renditions:
        assert rendition.width >= 1
        assert rendition.height >= 1


@pytest.mark.parametrize(
    ("declared", "means"),
    [
        ("image/jpeg", "jpeg"),
        ("IMAGE/JPG; charset=binary", "jpeg"),
        ("image/pjpeg", "jpeg"),
        ("image/mpo", "jpeg"),
        ("image/jpe", "jpeg"),
        ("image/x-jpeg", "jpeg"),
        ("image/x-citrix-jpeg", "jpeg"),
        ("image/x-citrix-png", "png"),
        ("image/vnd.mozilla.apng", "png"),
        ("image/heif", "heic"),
        ("image/heic-sequence", "heic"),
        ("application/octet-stream", None),
        ("binary/octet-stream", None),
        ("text/plain", None),
        ("image/*", None),
        ("image/", None),
        ("", None),
        (None, None),
        ("image/tiff", "tiff"),
    ],
)
def test_content_types_are_read_tolerantly(declared: str | None, means: str | None) -> None:
    assert declared_format(declared) == means


def test_a_content_type_of_another_format_is_a_mismatch(run: Go) -> None:
    answer = run(pictures.png(), "image/jpeg").answer
    assert isinstance(answer, Failed)
    assert (answer.code, answer.stage) == (MimeMismatch.code, "validation")
    assert run(pictures.png(), "image/png").code == "done"
    assert run(pictures.png(), "application/octet-stream").code == "done"


def test_an_optimised_copy_is_kept_when_it_saves_enough(run: Go) -> None:
    data = pictures.encoded(pictures.scene(1200, 900), "JPEG", quality=100)
    done = run(data, options=msgspec.structs.replace(OPTIONS, optimize_threshold_bytes=1000))
    facts = done.report.facts["optimization"]
    copy = done.picture("optimized")
    assert copy.size == (1200, 900)
    assert copy.info.get("progressive")
    assert unlike(copy, pictures.scene(1200, 900)) < 3
    size = len(done.bytes_of("optimized"))
    assert facts == {
        "optimized": True,
        "originalSize": len(data),
        "optimizedSize": size,
        "savings": len(data) - size,
        "savingsPercent": round(100 * (len(data) - size) / len(data), 2),
    }


def test_a_small_source_is_not_optimised_and_says_why(run: Go) -> None:
    data = pictures.jpeg()
    assert run(data).report.facts["optimization"] == {
        "optimized": False,
        "reason": "File already optimal size",
        "originalSize": len(data),
    }


def test_an_optimised_copy_that_saves_little_is_dropped_and_says_why(run: Go) -> None:
    options = msgspec.structs.replace(OPTIONS, optimize_threshold_bytes=0, optimize_min_saving_percent=99.9)
    done = run(pictures.jpeg(), options=options)
    facts = done.report.facts["optimization"]
    assert (facts["optimized"], facts["reason"]) == (False, "Savings not significant")
    assert {"originalSize", "optimizedSize", "savingsPercent"} < set(facts)
    assert "optimized" not in [r.name for r in done.report.renditions]


def test_damage_is_found_without_the_validation_stage_too(run: Go) -> None:
    options = msgspec.structs.replace(OPTIONS, stages=("thumbnails",))
    assert run(pictures.jpeg()[:-500], options=options).code == FileCorrupted.code
    assert run(pictures.jpeg(), options=options).progress == ["thumbnails"]


@pytest.mark.parametrize("format", ["webp", "avif"])
def test_renditions_of_another_format_have_that_format(run: Go, format: Format) -> None:
    options = msgspec.structs.replace(OPTIMIZING, thumbnail_format=format, optimize_format=format)
    done = run(pictures.turned(6, width=1600, height=1200), options=options)
    assert len(done.report.renditions) == 4
    for rendition in done.report.renditions:
        shown = done.picture(rendition.name)
        assert (shown.format, rendition.content_type) == (format.upper(), f"image/{format}")
        # Pillow shows the container's own rotation as EXIF, and does not apply it.
        assert shown.getexif().get(0x0112, 1) == 1
        assert unlike(shown, pictures.scene(1600, 1200)) < 5


def test_a_size_may_have_its_own_format(run: Go) -> None:
    specs = (ThumbnailSpec("a", 100, 80, "avif"), ThumbnailSpec("b", 200, 80))
    done = run(pictures.jpeg(), options=msgspec.structs.replace(OPTIONS, thumbnails=specs))
    assert [r.content_type for r in done.report.renditions] == ["image/avif", "image/jpeg"]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept_by_formats_that_can_and_hidden_colours_do_not_bleed(
    run: Go, mode: str, depth: int
) -> None:
    picture = Image.new("RGBA", (400, 400), (255, 0, 255, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 200, 400))
    data = pictures.encoded(picture.convert(mode), "PNG")
    if depth == 16:
        wide = (pictures.pyvips.Image.new_from_buffer(data, "") * 257).cast("ushort")
        name = "rgb16" if mode == "RGBA" else "grey16"
        data = bytes(wide.copy(interpretation=name).pngsave_buffer(bitdepth=16))
    options = msgspec.structs.replace(
        OPTIMIZING,
        optimize_format="webp",
        thumbnails=(ThumbnailSpec("w", 150, 80, "webp"), ThumbnailSpec("j", 150, 80)),
    )
    done = run(data, options=options)
    for name, side in (("w", 150), ("optimized", 400)):
        shown = done.picture(name)
        assert shown.mode == "RGBA"
        assert shown.getpixel((side // 4, 70))[3] == 255
        assert shown.getpixel((side * 3 // 4, 70))[3] == 0
        for x in range(side // 2 + 4):
            red, green, blue, solid = shown.getpixel((x, 70))
            assert solid < 20 or max(red, green, blue) < 60, (x, red, green, blue, solid)
    flat = done.picture("j").convert("RGB")
    assert max(flat.getpixel((30, 70))) < 10
    assert min(flat.getpixel((120, 70))) > 245
    assert done.facts["hasAlpha"]
    assert base64.b64decode(done.report.facts["placeholder"]["thumbhash"])[2] & 0x80
    assert not base64.b64decode(run(data).report.facts["placeholder"]["thumbhash"])[2] & 0x80


def test_a_service_may_be_configured_without_thumbnails(run: Go) -> None:
    done = run(pictures.jpeg(1000, 800), options=msgspec.structs.replace(OPTIONS, thumbnails=()))
    assert done.report.renditions == ()
    assert done.facts["width"] == 1000


def test_thumbnails_need_not_be_in_order_of_size(run: Go) -> None:
    specs = (ThumbnailSpec("b", 100, 80), ThumbnailSpec("a", 200, 80), ThumbnailSpec("c", 150, 80))
    done = run(pictures.jpeg(1000, 800), options=msgspec.structs.replace(OPTIONS, thumbnails=specs))
    assert [(r.name, r.width) for r in done.report.renditions] == [("b", 100), ("a", 200), ("c", 150)]


def test_a_full_output_blob_fails_the_task_and_says_so(run: Go) -> None:
    answer = run(pictures.jpeg(), capacity=1000).answer
    assert isinstance(answer, Failed)
    assert (answer.code, answer.stage) == ("PROCESSING_ERROR", "thumbnails")
    assert "1000" in answer.message


def test_the_gate_refuses_before_any_stage(run: Go) -> None:
    answer = run(b"nothing").answer
    assert isinstance(answer, Failed)
    assert (answer.code, answer.stage) == ("UNSUPPORTED_FORMAT", "gate")


def test_the_decoders_own_view_of_the_sides_is_checked_too(run: Go) -> None:
    """A GIF's frame may be larger than the screen that its header names."""
    data = bytearray(pictures.gif(64, 64))
    data[6:10] = struct.pack("<HH", 8, 8)
    options = msgspec.structs.replace(OPTIONS, limits=Limits(formats=("gif",), min_side_px=1, max_side_px=32))
    assert run(bytes(data), options=options).code == "IMAGE_TOO_LARGE"


class _Raising:
    NAME = "raising"

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def run(self, work: stage.Work) -> stage.StageResult:
        raise self._error


def _with(stages: tuple[stage.Stage, ...]) -> Done | Failed:
    ready = Pipeline(OPTIONS, stages, ENCODERS)
    return ready.run(memoryview(pictures.jpeg()), None, memoryview(bytearray(1 << 20)), lambda name: None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"), "PROCESSING_ERROR"),
        (MemoryError(), "WORKER_OUT_OF_MEMORY"),
        (FileCorrupted("gone"), "FILE_CORRUPTED"),
        (GeneratorExit(), "PROCESSING_ERROR"),
    ],
)
def test_no_exception_crosses_the_boundary(error: BaseException, code: str) -> None:
    answer = _with((_Raising(error),))
    assert isinstance(answer, Failed)
    assert (answer.code, answer.stage) == (code, "raising")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_system_exit_and_keyboard_interrupt_end_the_process(error: type[BaseException]) -> None:
    with pytest.raises(error):
        _with((_Raising(error()),))


def test_a_failures_message_is_one_short_line() -> None:
    answer = _with((_Raising(RuntimeError("a\nb\x1b[31m\u2028c" + "x" * 9999)),))
    assert isinstance(answer, Failed)
    assert answer.message.startswith("RuntimeError: a b [31m c")
    assert len(answer.message) == 500


class _Talkative:
    NAME = "talkative"

    def run(self, work: stage.Work) -> stage.StageResult:
        return stage.StageResult({"short": 1, "long": "x" * 200_000, "longer": "y" * 300_000})


def test_a_report_that_would_not_fit_loses_its_largest_facts_and_says_which() -> None:
    answer = _with((_Talkative(),))
    assert isinstance(answer, Done)
    report = facts.bounded(answer).report
    assert report.facts["talkative"] == {"short": 1, "long": None, "longer": None}
    assert len(report.warnings) == 2
    assert "talkative.longer" in report.warnings[0]
    assert messages.encode(Done(report=report))


def test_a_report_that_fits_is_left_alone(run: Go) -> None:
    answer = run(pictures.jpeg()).answer
    assert isinstance(answer, Done)
    assert facts.bounded(answer) is answer


def test_decoders_outside_the_allow_list_are_blocked() -> None:
    """SVG is built into the wheel, renders for seconds on request, and is found by content whatever the name."""
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' height='9'/></svg>"
    with pytest.raises(pictures.pyvips.Error, match=r"known format|blocked"):
        pictures.pyvips.Image.new_from_buffer(svg, "")
    tiff = pictures.encoded(pictures.scene(), "TIFF")
    with pytest.raises(pictures.pyvips.Error, match=r"known format|blocked"):
        pictures.pyvips.Image.new_from_buffer(tiff, "")


def test_options_have_the_contracts_stages_by_default() -> None:
    assert [loaded.NAME for loaded in stage.load(Options().stages)] == list(Options().stages)
