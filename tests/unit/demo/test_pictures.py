"""The demo's pictures: what a visitor is promised to see is really in the files."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import pytest
from PIL import ExifTags, Image, ImageFile, features

from fastproc.demo import pictures

WRITABLE = [
    shot
    for shot in pictures.SHOTS
    if shot.name[-4:] not in ("webp", "avif") or features.check(shot.name[-4:])
]
BY_NAME = {shot.name: shot for shot in WRITABLE}
ORIENTED = [shot for shot in WRITABLE if shot.orientation != 1]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[tuple[Path, bool]]]:
    """The paths that were returned, and what `on_made` saw: the path, and whether its file was there by then."""
    seen: list[tuple[Path, bool]] = []
    folder = tmp_path_factory.mktemp("pictures") / "made" / "where-missing"
    paths = pictures.make(folder, lambda path: seen.append((path, path.stat().st_size > 0)))
    return paths, seen


@pytest.fixture(scope="session")
def by_name(made: tuple[list[Path], list[tuple[Path, bool]]]) -> dict[str, Path]:
    return {path.name: path for path in made[0]}


def test_there_are_a_dozen_in_order_and_each_is_announced(
    made: tuple[list[Path], list[tuple[Path, bool]]],
) -> None:
    paths, seen = made
    assert len(pictures.SHOTS) == 12
    assert [path.name for path in paths] == [shot.name for shot in WRITABLE] == sorted(BY_NAME)
    assert seen == [(path, True) for path in paths]


def test_sizes_span_0_3_to_12_megapixels(by_name: dict[str, Path]) -> None:
    megapixels = []
    for path in by_name.values():
        with Image.open(path) as image:
            megapixels.append(image.width * image.height / 1e6)
    assert min(megapixels) == pytest.approx(0.3, abs=0.05)
    assert max(megapixels) == pytest.approx(12, abs=0.5)


def test_every_kind_of_file_is_there(by_name: dict[str, Path]) -> None:
    formats = set()
    for path in by_name.values():
        with Image.open(path) as image:
            formats.add(image.format)
    wanted = {"JPEG", "PNG"} | {name.upper() for name in ("webp", "avif") if features.check(name)}
    assert formats == wanted


def test_the_first_is_over_2_mib_and_quality_85_saves_more_than_a_tenth(by_name: dict[str, Path]) -> None:
    path = by_name["01-dawn-ridges.jpg"]
    size = path.stat().st_size
    again = io.BytesIO()
    with Image.open(path) as image:
        image.save(again, "JPEG", quality=85)
    assert size > 2 << 20
    assert again.tell() < 0.9 * size


def test_jpegs_weigh_what_photos_weigh(by_name: dict[str, Path]) -> None:
    for name, path in by_name.items():
        if name.endswith(".jpg") and BY_NAME[name].keep == 1:
            with Image.open(path) as image:
                bits = 8 * path.stat().st_size / (image.width * image.height)
            assert 0.8 < bits < 8, f"{name}: {bits:.2f} bits a pixel"


def test_orientations_3_6_and_8_are_there() -> None:
    assert {shot.orientation for shot in WRITABLE} == {1, 3, 6, 8}


@pytest.mark.parametrize("shot", ORIENTED, ids=lambda shot: shot.name)
def test_turning_a_picture_by_its_tag_brings_the_sky_up(
    shot: pictures.Shot, by_name: dict[str, Path]
) -> None:
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    with Image.open(by_name[shot.name]) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == shot.orientation
        upright = image.transpose(turn[shot.orientation])
    scene = shot.paint((shot.width, shot.height), Random(shot.seed))
    assert upright.size == (shot.width, shot.height)
    assert unlikeness(upright, scene) < 0.3 * unlikeness(upright.transpose(Image.Transpose.ROTATE_180), scene)


def unlikeness(a: Image.Image, b: Image.Image) -> int:
    """How different two pictures are, row by row: the sum over 16 rows of their mean greys' distances."""
    rows = zip(*(list(image.convert("L").resize((1, 16)).tobytes()) for image in (a, b)), strict=True)
    return sum(abs(x - y) for x, y in rows)


@pytest.mark.parametrize(
    "name", [shot.name for shot in WRITABLE if shot.place and shot.keep == 1], ids=lambda name: name
)
def test_camera_fields_are_written(name: str, by_name: dict[str, Path]) -> None:
    shot = BY_NAME[name]
    with Image.open(by_name[name]) as image:
        tags = image.getexif()
    detail, where = tags.get_ifd(ExifTags.IFD.Exif), tags.get_ifd(ExifTags.IFD.GPSInfo)
    assert tags[ExifTags.Base.Make] == "Fastproc"
    assert tags[ExifTags.Base.Model] == "Demo One"
    assert detail[ExifTags.Base.LensModel] == "Demo 24-70mm F2.8"
    assert detail[ExifTags.Base.DateTimeOriginal] == shot.taken
    assert float(detail[ExifTags.Base.ExposureTime]) == pytest.approx(
        shot.exposure[0][0] / shot.exposure[0][1]
    )
    assert float(detail[ExifTags.Base.FNumber]) == pytest.approx(shot.exposure[1])
    assert detail[ExifTags.Base.ISOSpeedRatings] == shot.exposure[2]
    assert shot.place is not None
    for value, part, signs in zip(shot.place, (2, 4), ("NS", "EW"), strict=False):
        degrees, minutes, seconds = (float(number) for number in where[part])
        sign = {signs[0]: 1, signs[1]: -1}[where[part - 1]]
        assert sign * (degrees + minutes / 60 + seconds / 3600) == pytest.approx(value, abs=1e-4)


def test_the_balloon_floats_on_nothing(by_name: dict[str, Path]) -> None:
    with Image.open(by_name["09-balloon-alpha.png"]) as image:
        assert image.mode == "RGBA"
        alpha = image.getchannel("A")
    assert alpha.getpixel((0, 0)) == 0
    assert alpha.getpixel((alpha.width // 2, alpha.height // 3)) == 255


def test_only_the_file_that_was_cut_short_does_not_decode(by_name: dict[str, Path]) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    broken = []
    for name, path in by_name.items():
        with Image.open(path) as image:
            try:
                image.load()
            except OSError:
                broken.append(name)
    assert broken == ["11-cut-short.jpg"]


def test_a_picture_made_again_has_the_same_bytes(by_name: dict[str, Path], tmp_path: Path) -> None:
    for name in ("12-poppies-small.jpg", "08-city-at-dusk.avif"):
        if name in BY_NAME:
            again = tmp_path / name
            pictures.write(BY_NAME[name], again)
            assert again.read_bytes() == by_name[name].read_bytes()
