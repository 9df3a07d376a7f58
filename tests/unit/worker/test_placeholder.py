"""BlurHash and ThumbHash against other encoders and decoders, and against hashes that those made earlier."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from fastproc.worker.digest import blurhash, dct, thumbhash
from fastproc.worker.vips.projection import Projection
from tests import pictures
from tests.unit.worker.conftest import Run

OPAQUE_HEAD, ALPHA_HEAD = 5, 6


def shaded() -> Image.Image:
    """The scene, more opaque towards the bottom."""
    picture = pictures.scene(32, 24).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((32, 24)))
    return picture


def framed() -> Image.Image:
    """Two colours within transparent pixels."""
    picture = Image.new("RGBA", (20, 30), (0, 0, 0, 0))
    picture.paste((200, 30, 30, 255), (5, 5, 15, 12))
    picture.paste((20, 90, 130, 255), (5, 12, 14, 25))
    return picture


#: size of the scene, BlurHash (C encoder of PyPI's blurhash-python 1.2.2), ThumbHash (npm's thumbhash 0.1.1).
MADE_ELSEWHERE = [
    ((32, 24), "LhHB-*imVsnn8K-3+7wcx=i*Vsi~", "XggKTZxmd4iQiHh2dniIh5S/mQiK"),
    ((24, 32), "TiHB-*m^Vs8K-3+7%Ji*VswOwcv.", "XggKTRxmd5CIaGd3iId4h5S/mQiK"),
    ((7, 32), "TqHLbwxdV@4AtIz{x@nnaKoxoIrw", "HwgKUiZngHh3h4eHhq+ICIk="),
]
TRANSPARENT = [
    (shaded(), "YWeGJIo4M3bAm0qUCdtfOJCMhwiHeIiHBw=="),
    (framed(), "lCeCGwg1h46jCDeHj3r4qAiHeIdze1g="),
]


def nibbles(data: bytes) -> list[int]:
    return [half for byte in data for half in (byte & 15, byte >> 4)]


def near(ours: bytes, theirs: bytes, head: int = OPAQUE_HEAD) -> bool:
    """The same header, and every detail within one step: floats differ at the border of two steps."""
    details = zip(nibbles(ours[head:]), nibbles(theirs[head:]), strict=True)
    return ours[:head] == theirs[:head] and all(abs(a - b) <= 1 for a, b in details)


def components(width: int, height: int) -> tuple[int, int]:
    return (4, 3) if width >= height else (3, 4)


@pytest.mark.parametrize(("size", "blur", "thumb"), MADE_ELSEWHERE)
def test_hashes_are_those_that_others_made(size: tuple[int, int], blur: str, thumb: str) -> None:
    pixels = pictures.scene(*size).tobytes()
    assert blurhash.encode(*size, pixels, *components(*size)) == blur
    assert near(thumbhash.encode(*size, pixels), base64.b64decode(thumb))


@pytest.mark.parametrize(("picture", "thumb"), TRANSPARENT)
def test_transparency_is_hashed_as_others_do(picture: Image.Image, thumb: str) -> None:
    ours = thumbhash.encode(
        *picture.size, picture.convert("RGB").tobytes(), picture.getchannel("A").tobytes()
    )
    assert near(ours, base64.b64decode(thumb), ALPHA_HEAD)


def test_pixels_that_are_all_opaque_have_no_alpha() -> None:
    pixels = pictures.scene(32, 24).tobytes()
    assert thumbhash.encode(32, 24, pixels, bytes([255]) * 768) == thumbhash.encode(32, 24, pixels)


SIDES = st.integers(1, 40)


@given(SIDES, SIDES, st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_any_pixels_give_a_hash_of_the_length_that_the_format_says(
    width: int, height: int, across: int, down: int, dice: object
) -> None:
    pixels = dice.randbytes(3 * width * height)  # type: ignore[attr-defined]
    alpha = dice.randbytes(width * height)  # type: ignore[attr-defined]
    assert len(blurhash.encode(width, height, pixels, across, down)) == 4 + 2 * across * down
    assert 17 <= len(thumbhash.encode(width, height, pixels)) <= 26
    assert 17 <= len(thumbhash.encode(width, height, pixels, alpha)) <= 34


def test_a_flat_picture_has_no_detail_but_its_colour() -> None:
    decode = thumbhash.encode(32, 24, bytes((200, 30, 30)) * 768)
    assert set(decode[OPAQUE_HEAD:]) == {0}
    assert thumbhash.encode(32, 32, bytes(3 * 1024)) == thumbhash.encode(16, 16, bytes(3 * 256))


def test_waves_are_those_of_the_cosine_transform() -> None:
    """A wave projected on itself gives half the samples, on any other wave zero."""
    waves = dct.waves(5, 16)
    rows = Projection(1, waves, [(1.0,)], [(n, 0) for n in range(5)], format="double")
    for n, wave in enumerate(waves):
        (found,) = rows.sums(memoryview(array("d", wave)).cast("B"))
        assert found == pytest.approx([(16 if n == 0 else 8) if m == n else 0 for m in range(5)], abs=1e-9)
    corners = Projection(2, [(1, 0, 0), (0, 0, 1)], [(1, 1)], [(0, 0), (1, 0)])
    assert corners.sums(bytes([1, 2, 3, 4, 5, 6, 0, 0, 0, 7, 0, 9])) == [[5, 9], [7, 9]]


def test_a_photo_gets_both_hashes_of_its_upright_self(run: Callable[..., Run]) -> None:
    upright = run(pictures.jpeg(1200, 900)).report.facts["placeholder"]
    turned = run(pictures.turned(6, width=1200, height=900)).report.facts["placeholder"]
    assert set(upright) == {"blurhash", "thumbhash"}
    for facts in (upright, turned):
        assert facts["blurhash"][:3] == "LhH"
        assert near(base64.b64decode(facts["thumbhash"]), base64.b64decode(MADE_ELSEWHERE[0][2]))


# --- peers, where they are installed (the extra `dev` has them)


def unlike(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two blurred pictures' channels, 0 to 255."""
    small = [each.convert("RGB").resize((8, 8), Image.Resampling.BOX) for each in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*small)).mean) / 3


@pytest.mark.parametrize("size", [(32, 24), (24, 32), (32, 32), (5, 31)])
def test_a_blurhash_is_the_peers_and_its_picture_looks_like_the_photo(size: tuple[int, int]) -> None:
    peer = pytest.importorskip("blurhash", reason="the extra dev has it")
    picture = pictures.scene(*size)
    pixels = picture.tobytes()
    rows = [[list(pixels[3 * (x + y * size[0]) :][:3]) for x in range(size[0])] for y in range(size[1])]
    ours = blurhash.encode(*size, pixels, 4, 3)
    assert ours == peer.encode(rows, 4, 3)
    decoded = peer.decode(blurhash.encode(*size, pixels, 9, 9), 24, 24)
    shown = Image.frombytes(
        "RGB", (24, 24), bytes(value for row in decoded for pixel in row for value in pixel)
    )
    assert 2 * unlike(shown, picture) < unlike(shown, picture.rotate(180))


@pytest.mark.parametrize("size", [(32, 24), (24, 32), (32, 32), (5, 31)])
def test_a_thumbhash_is_the_peers(size: tuple[int, int]) -> None:
    peer = pytest.importorskip("thumbhash", reason="the extra dev has it")
    picture = pictures.scene(*size)
    ours = thumbhash.encode(*size, picture.tobytes())
    assert near(ours, bytes(peer.rgba_to_thumb_hash(*size, list(picture.convert("RGBA").tobytes()))))
