"""Encoders: jpegli's binding, its files against mozjpeg's, and what happens with an unknown version."""

from __future__ import annotations

import ctypes.util
import io
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastproc.core.model import Format, Options, ThumbnailSpec
from fastproc.worker import encoders, jpegli
from fastproc.worker.vips import library, samples, savers
from tests import pictures

ENCODE = encoders.choose("jpeg").encode


def vips(width: int = 640, height: int = 480) -> library.Image:
    """A picture with grain, as photos have it."""
    noise = pictures.pyvips.Image.gaussnoise(width, height, sigma=12, mean=0, seed=7)
    plain = pictures.pyvips.Image.new_from_memory(
        pictures.scene(width, height).tobytes(), width, height, 3, "uchar"
    )
    return (plain + noise).cast("uchar").copy(interpretation="srgb").copy_memory()


def test_jpegli_is_chosen_here() -> None:
    assert encoders.choose("jpeg").description == "jpeg by jpegli"


def test_its_files_are_progressive_420_jfif_without_anything_else() -> None:
    data = encoders.choose("jpeg").encode(vips(), 85)
    picture = Image.open(io.BytesIO(data))
    assert picture.info["progressive"]
    assert picture.size == (640, 480)
    assert picture.layer[0][1:3] == (2, 2)
    assert data.count(b"\xff\xda") == len(jpegli.SCRIPT)
    assert {name for name, _ in picture.applist} <= {"APP0"}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(50, 100))
def test_every_size_and_quality_comes_back_as_it_was(width: int, height: int, quality: int) -> None:
    grey = (
        pictures.pyvips.Image.black(width, height).linear(1, 1)
        + pictures.pyvips.Image.xyz(width, height)[0] * 3
    )
    picture = grey.bandjoin([grey, grey]).cast("uchar").copy(interpretation="srgb").copy_memory()
    error, progressive = samples.difference(picture, ENCODE(picture, quality))
    assert progressive
    assert error < 20


def test_a_stream_gives_the_same_file_as_memory() -> None:
    data = pictures.jpeg(1000, 700)
    stream = pictures.pyvips.Image.jpegload_buffer(data, access="sequential")
    memory = pictures.pyvips.Image.jpegload_buffer(data).copy_memory()
    encode = encoders.choose("jpeg").encode
    assert encode(stream, 85) == encode(memory, 85)


def test_jpegli_gets_the_number_that_looks_like_mozjpegs_at_the_pictures_size() -> None:
    qualities = (100, 85, 80, 75, 1)
    assert [encoders.jpegli_quality(quality, 300) for quality in qualities] == [100, 81, 75, 67, 1]
    assert [encoders.jpegli_quality(quality, 600) for quality in qualities] == [100, 85, 80, 74, 1]
    assert [encoders.jpegli_quality(quality, 4000) for quality in qualities] == [100, 86, 80, 75, 1]


@pytest.mark.parametrize("quality", [75, 80, 85, 95])
def test_its_numbers_mean_what_mozjpegs_mean(quality: int) -> None:
    """On more grain than any photo has, bytes and error are near mozjpeg's. The exact promise is for photos."""
    picture = vips()
    ours, theirs = encoders.choose("jpeg").encode(picture, quality), savers.mozjpeg(picture, quality)
    assert len(ours) == pytest.approx(len(theirs), rel=0.15)
    assert samples.difference(picture, ours)[0] <= 1.1 * samples.difference(picture, theirs)[0]


PHOTOS = pictures.SHARED / "photos" / "mix"


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no ../shared/photos beside the checkout")
@pytest.mark.parametrize(("side", "quality"), [(600, 85), (300, 80), (150, 75)])
def test_on_photos_its_files_are_smaller_than_mozjpegs_and_better(side: int, quality: int) -> None:
    shares, errors = [], []
    for path in sorted(PHOTOS.iterdir()):
        photo = pictures.pyvips.Image.thumbnail(str(path), side, height=side).copy_memory()
        ours, theirs = encoders.choose("jpeg").encode(photo, quality), savers.mozjpeg(photo, quality)
        shares.append(len(ours) / len(theirs))
        errors.append(samples.difference(photo, ours)[0] / samples.difference(photo, theirs)[0])
    assert sum(shares) / len(shares) < 1
    assert sum(errors) / len(errors) < 1


@pytest.mark.parametrize(
    ("width", "height", "quality"), [(0, 9, 80), (9, 0, 80), (65501, 9, 80), (9, 9, 0), (9, 9, 101)]
)
def test_impossible_arguments_are_refused_before_c_sees_them(width: int, height: int, quality: int) -> None:
    with pytest.raises(jpegli.JpegliError):
        jpegli.Jpegli().encode((width, height), 3, [], quality)


def test_an_error_in_mid_picture_leaves_a_working_encoder() -> None:
    encoder = jpegli.Jpegli()

    def breaking() -> object:
        yield bytearray(3 * 64 * 8)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        encoder.encode((64, 64), 3, breaking(), 80)
    assert encoder.encode((64, 8), 3, [bytearray(3 * 64 * 8)], 80)


def test_too_few_rows_are_an_error_not_a_picture() -> None:
    with pytest.raises(jpegli.JpegliError):
        jpegli.Jpegli().encode((64, 64), 3, [bytearray(3 * 64 * 8)], 80)


def test_too_many_rows_are_an_error_not_a_crash() -> None:
    with pytest.raises(jpegli.JpegliError):
        jpegli.Jpegli().encode((64, 4), 3, [bytearray(3 * 64 * 8)], 80)


@pytest.mark.parametrize("version", ["0.3.1", "0.3.3", "0.3.20", "0.4.0"])
def test_a_version_that_was_never_tried_is_not_called_and_mozjpeg_takes_over(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(jpegli.metadata, "version", lambda name: version)
    monkeypatch.setattr(jpegli.ctypes, "CDLL", lambda path: pytest.fail("the library was loaded"))
    choice = encoders.choose("jpeg")
    assert choice.description.startswith(f"jpeg by mozjpeg (not jpegli: version {version} was never tried")
    assert samples.difference(vips(), choice.encode(vips(), 85))[1]


@pytest.mark.parametrize("rest", [244, 260])
def test_a_library_whose_struct_has_another_size_is_not_called_and_does_not_end_the_process(
    monkeypatch: pytest.MonkeyPatch, rest: int
) -> None:
    """The struct here changes, not the library's: to jpegli that is the same."""

    class Other(ctypes.Structure):
        _fields_ = (*jpegli._Compress._fields_[:-1], ("rest", ctypes.c_byte * rest))

    monkeypatch.setattr(jpegli, "_Compress", Other)
    choice = encoders.choose("jpeg")
    assert choice.description.startswith(
        "jpeg by mozjpeg (not jpegli: its jpeg_compress_struct is not known to be of 5"
    )
    assert samples.difference(vips(), choice.encode(vips(), 85))[1]


def test_on_another_kind_of_machine_the_library_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegli.platform, "machine", lambda: "riscv64")
    assert (
        encoders.choose("jpeg").description == "jpeg by mozjpeg (not jpegli: it was never tried on riscv64)"
    )


def test_the_comparison_that_is_looked_for_is_the_machines_own() -> None:
    """cmp rdx, 520; cmp x2, #520."""
    found = {machine: code(520).hex() for machine, code in jpegli._COMPARISONS.items()}
    assert found == {"x86_64": "4881fa08020000", "aarch64": "5f2008f1"}


def test_a_library_without_the_calls_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegli.pyjpegli, "__file__", ctypes.util.find_library("m") or "libm.so.6")
    assert encoders.choose("jpeg").description.startswith("jpeg by mozjpeg (not jpegli")


def test_an_encoder_whose_pictures_are_wrong_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def inverted(picture: library.Image, quality: int) -> bytes:
        return savers.mozjpeg(picture.invert(), quality)

    def baseline(picture: library.Image, quality: int) -> bytes:
        return bytes(picture.jpegsave_buffer(Q=quality))

    table = (
        ("inverted", lambda: inverted),
        ("baseline", lambda: baseline),
        ("mozjpeg", lambda: savers.mozjpeg),
    )
    monkeypatch.setattr(encoders, "_TABLE", {"jpeg": table})
    words = encoders.choose("jpeg").description
    assert words.startswith("jpeg by mozjpeg")
    assert "inverted: the picture differs" in words
    assert "baseline: the file is not progressive" in words


def test_without_jpegli_installed_mozjpeg_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyjpegli", None)
    monkeypatch.delitem(sys.modules, "fastproc.worker.jpegli")
    monkeypatch.delattr("fastproc.worker.jpegli")
    choice = encoders.choose("jpeg")
    assert choice.description.startswith("jpeg by mozjpeg (not jpegli: import of pyjpegli halted")
    assert samples.difference(vips(), choice.encode(vips(), 85))[1]


def test_without_any_encoder_a_worker_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_TABLE", {"jpeg": ()})
    with pytest.raises(RuntimeError):
        encoders.choose("jpeg")


@pytest.mark.parametrize("bands", [1, 3])
def test_a_giant_is_written_in_one_scan_that_holds_the_same_picture(
    monkeypatch: pytest.MonkeyPatch, bands: int
) -> None:
    picture = vips() if bands == 3 else grey()
    progressive = ENCODE(picture, 85)
    monkeypatch.setattr(encoders, "PROGRESSIVE_PIXELS", 640 * 480 - 1)
    sequential = ENCODE(picture, 85)
    assert sequential.count(b"\xff\xda") == 1
    assert Image.open(io.BytesIO(sequential)).tobytes() == Image.open(io.BytesIO(progressive)).tobytes()
    assert len(sequential) < 1.08 * len(progressive)


# --- grey, alpha, and the other formats

FORMATS: tuple[Format, ...] = ("jpeg", "webp", "avif")


def grey() -> library.Image:
    return vips().extract_band(1).copy(interpretation="b-w").copy_memory()


def test_a_grey_picture_is_written_as_grey_and_smaller() -> None:
    for encode in (ENCODE, savers.mozjpeg):
        data = encode(grey(), 85)
        assert Image.open(io.BytesIO(data)).mode == "L"
        assert samples.difference(grey(), data) == (pytest.approx(40, abs=40), True)
        assert len(data) < len(encode(grey().colourspace("srgb"), 85))


@pytest.mark.parametrize("quality", [75, 80, 85])
def test_greys_numbers_mean_what_mozjpegs_mean(quality: int) -> None:
    """At jpegli's own number for them grey files are a fifth larger than mozjpeg's."""
    assert len(ENCODE(grey(), quality)) == pytest.approx(len(savers.mozjpeg(grey(), quality)), rel=0.1)


@pytest.mark.parametrize("bands", [0, 2, 4])
def test_pictures_of_other_bands_are_refused_before_c_sees_them(bands: int) -> None:
    with pytest.raises(jpegli.JpegliError):
        jpegli.Jpegli().encode((8, 8), bands, [bytearray(64 * bands)], 80)


@pytest.mark.parametrize("format", FORMATS)
def test_alpha_is_kept_where_the_format_can_and_white_where_not(format: Format) -> None:
    half = pictures.pyvips.Image.black(640, 480)
    half = half.draw_rect([255], 0, 0, 320, 480, fill=True)
    data = encoders.choose(format).encode(vips().bandjoin(half), 85)
    shown = Image.open(io.BytesIO(data))
    assert shown.format == format.upper()
    if format == "jpeg":
        assert shown.mode == "RGB"
        assert min(shown.getpixel((600, 240))) > 250
    else:
        assert shown.mode == "RGBA"
        assert (shown.getpixel((10, 240))[3], shown.getpixel((600, 240))[3]) == (255, 0)


@pytest.mark.parametrize("format", FORMATS)
def test_files_carry_no_metadata(format: Format) -> None:
    photo = pictures.pyvips.Image.new_from_buffer(
        pictures.jpeg(exif=pictures.camera_exif(), icc_profile=pictures.profile("p3")), ""
    )
    shown = Image.open(io.BytesIO(encoders.choose(format).encode(photo, 80)))
    assert not {"exif", "icc_profile", "xmp"} & {name for name, value in shown.info.items() if value}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_loses_about_as_much_at_the_same_number(format: Format) -> None:
    """By mean square error, a poorer measure than looks: within a factor of two."""
    plain = pictures.pyvips.Image.new_from_memory(pictures.detailed(400, 300).tobytes(), 400, 300, 3, "uchar")
    picture = plain.copy(interpretation="srgb")
    for quality in (75, 85):
        theirs = samples.difference(picture, savers.mozjpeg(picture, quality))[0]
        ours = samples.difference(picture, encoders.choose(format).encode(picture, quality), format)[0]
        assert theirs / 2 < ours < 2 * theirs


@pytest.mark.parametrize("table", [encoders._WEBP, encoders._AVIF])
def test_qualities_are_translated_on_lines_that_rise(table: tuple[tuple[int, int], ...]) -> None:
    found = [encoders.translated(quality, table) for quality in range(1, 101)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1, 100)
    assert all(found[quality - 1] == other for quality, other in table)


def test_an_encoder_is_chosen_once_and_only_for_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    real = encoders.choose
    monkeypatch.setattr(encoders, "choose", lambda format: chosen.append(format) or real(format))
    ready = encoders.Encoders()
    ready.description(Options())
    ready.encode(vips(), "jpeg", 80)
    assert chosen == ["jpeg"]


def test_the_description_names_the_encoder_of_each_purpose() -> None:
    specs = (ThumbnailSpec("a", 10, 80), ThumbnailSpec("b", 20, 80, "avif"), ThumbnailSpec("c", 30, 80))
    options = Options(thumbnails=specs, thumbnail_format="webp")
    assert encoders.Encoders().description(options) == {
        "thumbnails": "webp by libwebp, avif by libaom",
        "optimization": "jpeg by jpegli",
    }
    assert encoders.Encoders().description(Options(stages=("validation", "thumbnails"))) == {
        "thumbnails": "jpeg by jpegli"
    }
