"""The perceptual hash: near for one photo in many files, far for different ones, and equal to imagehash's."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable

import pytest
from PIL import Image, ImageEnhance

from fastproc.worker.stages import phash
from tests import pictures
from tests.unit.worker.conftest import Run

Go = Callable[..., Run]
#: Bits of 64 that a size, a quality or a format may change, and that two photos differ in at least.
NEAR, FAR = 8, 16


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def hash_of(done: Run) -> str:
    return str(done.report.facts["phash"]["hash"])


def test_the_hash_is_the_one_that_imagehash_makes() -> None:
    """imagehash 4.3.2 with scipy: phash() of the same 32 x 32 pixels."""
    corner = pictures.scene(80, 60).crop((3, 0, 35, 32))
    assert phash.hash_of(corner.tobytes()) == "b33333ccc43333cc"
    assert phash.hash_of(corner.rotate(90).tobytes()) == "99e6e61911e6e619"


@pytest.mark.parametrize(
    "other",
    [
        pictures.jpeg(1600, 1200, quality=40),
        pictures.jpeg(500, 375, quality=90),
        pictures.jpeg(1600, 1200, progressive=True, subsampling="4:4:4"),
        pictures.png(1000, 750),
        pictures.webp(800, 600, quality=50),
        pictures.turned(6, width=1600, height=1200),
        pictures.encoded(ImageEnhance.Brightness(pictures.scene(800, 600)).enhance(0.85), "JPEG"),
    ],
)
def test_the_same_photo_in_another_file_is_near(run: Go, other: bytes) -> None:
    assert distance(hash_of(run(pictures.jpeg(1600, 1200))), hash_of(run(other))) <= NEAR


def test_other_pictures_are_far(run: Go) -> None:
    scene = pictures.scene(400, 300)
    others = [
        scene,
        scene.rotate(180),
        scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        scene.crop((200, 0, 400, 150)),
    ]
    hashes = [hash_of(run(pictures.encoded(other, "PNG"))) for other in others]
    assert all(distance(one, other) >= FAR for one, other in itertools.combinations(hashes, 2))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 60)])
def test_a_flat_picture_has_one_hash_whatever_the_rounding(run: Go, colour: tuple[int, int, int]) -> None:
    """Its frequencies are zero; their rounding errors are ignored."""
    found = hash_of(run(pictures.encoded(Image.new("RGB", (300, 200), colour), "PNG")))
    assert found == ("0" * 16 if colour == (0, 0, 0) else "8" + "0" * 15)


def test_the_digest_is_that_of_the_file(run: Go) -> None:
    data = pictures.jpeg()
    facts = run(data).report.facts["phash"]
    assert set(facts) == {"hash", "sha256"}
    assert facts["sha256"] == hashlib.sha256(data).hexdigest()
    assert len(facts["hash"]) == 16


MIX = pictures.SHARED / "photos" / "mix"


@pytest.mark.skipif(not MIX.is_dir(), reason="no ../shared/photos beside the checkout")
def test_real_photos_are_near_themselves_and_far_from_each_other(run: Go) -> None:
    hashes = []
    for path in sorted(MIX.iterdir()):
        original, small = hash_of(run(path.read_bytes())), Image.open(path)
        small.thumbnail((700, 700))
        exif = small.getexif()
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=60, exif=exif)
        assert distance(original, hash_of(run(buffer.getvalue()))) <= NEAR
        hashes.append(original)
    assert min(distance(one, other) for one, other in itertools.combinations(hashes, 2)) >= FAR
