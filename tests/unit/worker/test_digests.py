"""The quick sums give what loops in plain Python give, and what earlier versions gave for whole photos."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from fastproc.worker.colour import statistics
from fastproc.worker.digest import blurhash, thumbhash
from fastproc.worker.stages import phash
from tests import pictures
from tests.unit.worker import loops
from tests.unit.worker.conftest import Run

PIXELS = 32 * 32


def planes(count: int) -> Iterator[bytes]:
    """Pictures of `count` pixels: noise, few colours, flat ones, slopes, one odd pixel."""
    dice = random.Random(count)
    for n in range(6):
        yield dice.randbytes(3 * count)
        few = [dice.randbytes(3) for _ in range(1 + n)]
        yield b"".join(dice.choices(few, k=count))
        start, step = dice.randrange(256), dice.randrange(1, 9)
        yield bytes((start + step * place // 7) % 256 for place in range(3 * count))
    for value in (0, 1, 51, 128, 254, 255):
        yield bytes([value]) * (3 * count)
        yield bytes([value]) * (3 * count - 1) + bytes([255 - value])


def alphas(count: int) -> Iterator[bytes]:
    dice = random.Random(count)
    yield from (bytes(count), bytes([255]) * count, bytes([128]) * count, dice.randbytes(count))
    yield bytes(255 if place * 2 < count else 0 for place in range(count))


SIZES = [
    (32, 24),
    (24, 32),
    (32, 32),
    (32, 21),
    (18, 32),
    (32, 1),
    (1, 32),
    (32, 2),
    (3, 32),
    (1, 1),
    (40, 7),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_placeholders_are_those_of_the_loops(size: tuple[int, int]) -> None:
    across, down = (4, 3) if size[0] >= size[1] else (3, 4)
    for pixels in planes(size[0] * size[1]):
        assert blurhash.encode(*size, pixels, across, down) == loops.blur(*size, pixels, across, down)
        assert thumbhash.encode(*size, pixels) == loops.thumb(*size, pixels)


@pytest.mark.parametrize("size", SIZES[:8], ids=str)
def test_placeholders_of_transparent_pictures_are_those_of_the_loops(size: tuple[int, int]) -> None:
    count = size[0] * size[1]
    for pixels in list(planes(count))[::5]:
        for alpha in alphas(count):
            assert thumbhash.encode(*size, pixels, alpha) == loops.thumb(*size, pixels, alpha)


def test_perceptual_hashes_are_those_of_the_loops() -> None:
    for pixels in planes(PIXELS):
        assert phash.hash_of(pixels) == loops.perceptual(pixels)


@pytest.mark.parametrize("count", [1, 2, 3, 100, 2048, 2200])
def test_dominant_colours_are_those_of_the_loops(count: int) -> None:
    for pixels in planes(count):
        assert statistics.dominant(pixels) == loops.dominant(pixels)


def test_of_equally_frequent_colours_the_first_one_dominates() -> None:
    for order in (((250, 0, 0), (0, 0, 250)), ((0, 0, 250), (250, 0, 0))):
        assert statistics.dominant(bytes(order[0] + order[1]) * 8) == order[0]


def see_through(width: int, height: int) -> bytes:
    picture = pictures.detailed(width, height).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((width, height)))
    return pictures.encoded(picture, "PNG")


def values(run: Callable[..., Run], data: bytes) -> tuple[object, ...]:
    facts = run(data).report.facts
    metadata, placeholder = facts["metadata"], facts["placeholder"]
    colour = tuple(metadata["dominantColor"].values())
    return (
        placeholder["blurhash"],
        placeholder["thumbhash"],
        facts["phash"]["hash"],
        colour,
        metadata["brightness"],
    )


#: Made by the version whose sums were loops (pyvips-binary 8.18.7). PNG, so that no JPEG decoder has a say.
PHOTOS = {
    "landscape": pictures.encoded(pictures.detailed(640, 480), "PNG"),
    "portrait": pictures.encoded(pictures.detailed(150, 220), "PNG"),
    "grey": pictures.encoded(pictures.detailed(300, 300, "L"), "PNG"),
    "flat": pictures.encoded(Image.new("RGB", (200, 100), (51, 102, 204)), "PNG"),
    "see-through": see_through(400, 300),
    "wide": pictures.encoded(pictures.detailed(900, 101), "PNG"),
    "high": pictures.encoded(pictures.detailed(101, 900), "PNG"),
}
WANTED = {
    "landscape": (
        "LMFr|iMYtJj3AK{_v_$d.}zwkhaQ",
        "XvgFLY4jdpjAk3hSdFdpeKDTtmb+",
        "87522fd2a0adf8a5",
        (200, 30, 30),
        0.4958,
    ),
    "portrait": (
        "TLFr|iQ$tJAK{_#O.#zxo=;[x+bD",
        "XvgFLQ4jdsCTJ0VWaYiYl6DTpmb+",
        "875227d2a1adf8a5",
        (200, 30, 30),
        0.4922,
    ),
    "grey": (
        "L8E:0n00j[Rj4n-;IUxu009Ft7IU",
        "HwgGBwBwdYmilndBaIh6iIdoCAAAAAAA",
        "875227d2a1adf8a5",
        (106, 106, 106),
        0.4912,
    ),
    "flat": (
        "LC5?~EkZfQkZp3flfQflfQfQfQfQ",
        "HZQBBIAAAAAAAAAAAAAAAAAAAA==",
        "8000000000000000",
        (51, 102, 204),
        0.3864,
    ),
    "see-through": (
        "L#M*8CRrbakE?^$xnhs+#taPbYai",
        "b/gNJYZ3d4iPh3d3d4iIeHDUZjX7",
        "a5da2dd2a587f085",
        (251, 249, 251),
        0.7681,
    ),
    "wide": (
        "LKFiY.MYoraSui{g#O$eU;@wxQr?",
        "XvgFKY4jdpjAkyhFoNOmVv4=",
        "87522fd2a585f8a5",
        (200, 30, 30),
        0.4971,
    ),
    "high": (
        "TUFiY.-aRWEm;M;0*:zxr;,lxlos",
        "XvgFKQ4jwCNFlXeZoNOmZv0=",
        "87522fd2a0adf8a5",
        (200, 30, 30),
        0.488,
    ),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_whole_photos_have_the_values_that_they_had_before(run: Callable[..., Run], name: str) -> None:
    assert values(run, PHOTOS[name]) == WANTED[name]
