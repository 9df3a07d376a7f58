"""Encoders: jpegli's binding, its files against mozjpeg's, and what happens when it is not what we know."""

from __future__ import annotations

import ctypes.util
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastproc.worker import encoders, image, jpegli
from tests import pictures

ENCODE = encoders.choose().encode


def vips(width: int = 640, height: int = 480) -> image.Image:
    """A picture with grain, as photos have it."""
    noise = pictures.pyvips.Image.gaussnoise(width, height, sigma=12, mean=0, seed=7)
    plain = pictures.pyvips.Image.new_from_memory(
        pictures.scene(width, height).tobytes(), width, height, 3, "uchar"
    )
    return (plain + noise).cast("uchar").copy(interpretation="srgb").copy_memory()


def test_jpegli_is_what_is_chosen_here() -> None:
    assert encoders.choose().words == "jpegli"


def test_its_files_are_progressive_420_jfif_without_anything_else() -> None:
    data = encoders.choose().encode(vips(), 85)
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
    error, progressive = image.difference(picture, ENCODE(picture, quality))
    assert progressive
    assert error < 20


def test_a_stream_gives_the_same_file_as_memory() -> None:
    data = pictures.jpeg(1000, 700)
    stream = pictures.pyvips.Image.jpegload_buffer(data, access="sequential")
    memory = pictures.pyvips.Image.jpegload_buffer(data).copy_memory()
    encode = encoders.choose().encode
    assert encode(stream, 85) == encode(memory, 85)


def test_low_qualities_are_lowered_further_for_jpegli_and_high_ones_are_not() -> None:
    assert [encoders.jpegli_quality(quality) for quality in (100, 85, 80, 75, 1)] == [100, 85, 79, 73, 1]


@pytest.mark.parametrize("quality", [75, 80, 85, 95])
def test_its_numbers_mean_what_mozjpegs_mean(quality: int) -> None:
    """On grain, which no photo has so much of: bytes and error are near mozjpeg's. The exact promise is for photos."""
    picture = vips()
    ours, theirs = encoders.choose().encode(picture, quality), image.mozjpeg(picture, quality)
    assert len(ours) == pytest.approx(len(theirs), rel=0.15)
    assert image.difference(picture, ours)[0] <= 1.1 * image.difference(picture, theirs)[0]


PHOTOS = pictures.SHARED / "photos" / "mix"


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no ../shared/photos beside the checkout")
@pytest.mark.parametrize(("side", "quality"), [(600, 85), (300, 80), (150, 75)])
def test_on_photos_its_files_are_smaller_than_mozjpegs_and_better(side: int, quality: int) -> None:
    shares, errors = [], []
    for path in sorted(PHOTOS.iterdir()):
        photo = pictures.pyvips.Image.thumbnail(str(path), side, height=side).copy_memory()
        ours, theirs = encoders.choose().encode(photo, quality), image.mozjpeg(photo, quality)
        shares.append(len(ours) / len(theirs))
        errors.append(image.difference(photo, ours)[0] / image.difference(photo, theirs)[0])
    assert sum(shares) / len(shares) < 1
    assert sum(errors) / len(errors) < 1


@pytest.mark.parametrize(
    ("width", "height", "quality"), [(0, 9, 80), (9, 0, 80), (65501, 9, 80), (9, 9, 0), (9, 9, 101)]
)
def test_impossible_arguments_are_refused_before_c_sees_them(width: int, height: int, quality: int) -> None:
    with pytest.raises(jpegli.JpegliError):
        jpegli.Jpegli().encode(width, height, [], quality)


def test_an_error_in_mid_picture_leaves_a_working_encoder() -> None:
    encoder = jpegli.Jpegli()

    def breaking() -> object:
        yield bytearray(3 * 64 * 8)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        encoder.encode(64, 64, breaking(), 80)
    assert encoder.encode(64, 8, [bytearray(3 * 64 * 8)], 80)


def test_too_few_rows_are_an_error_not_a_picture() -> None:
    with pytest.raises(jpegli.JpegliError):
        jpegli.Jpegli().encode(64, 64, [bytearray(3 * 64 * 8)], 80)


def test_too_many_rows_are_an_error_not_a_crash() -> None:
    with pytest.raises(jpegli.JpegliError):
        jpegli.Jpegli().encode(64, 4, [bytearray(3 * 64 * 8)], 80)


def test_a_version_that_was_never_tried_is_not_called_and_mozjpeg_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jpegli.metadata, "version", lambda name: "0.4.0")
    choice = encoders.choose()
    assert choice.words.startswith("mozjpeg (not jpegli: version 0.4.0")
    assert image.difference(vips(), choice.encode(vips(), 85))[1]


def test_a_library_without_the_calls_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegli.pyjpegli, "__file__", ctypes.util.find_library("m") or "libm.so.6")
    assert encoders.choose().words.startswith("mozjpeg (not jpegli")


def test_an_encoder_whose_pictures_are_wrong_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def inverted(picture: image.Image, quality: int) -> bytes:
        return image.mozjpeg(picture.invert(), quality)

    def baseline(picture: image.Image, quality: int) -> bytes:
        return bytes(picture.jpegsave_buffer(Q=quality))

    table = (
        ("inverted", lambda: inverted),
        ("baseline", lambda: baseline),
        ("mozjpeg", lambda: image.mozjpeg),
    )
    monkeypatch.setattr(encoders, "_TABLE", table)
    words = encoders.choose().words
    assert words.startswith("mozjpeg")
    assert "inverted: the picture differs" in words
    assert "baseline: the file is not progressive" in words


def test_without_any_encoder_a_worker_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_TABLE", ())
    with pytest.raises(RuntimeError):
        encoders.choose()
