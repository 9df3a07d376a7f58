"""Raw files through the pipeline: the preview's pixels, upright once; the container's EXIF; the file's digest."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image, ImageChops, ImageStat

from fastproc.core.gate.raw.exif import MAX_XMP_BYTES
from fastproc.worker.stages.validation import declared_format
from tests import described, pictures, raws
from tests.unit.worker.conftest import OPTIONS, Run

Go = Callable[..., Run]
RAW = replace(OPTIONS, limits=replace(OPTIONS.limits, formats=("jpeg", "raw")))


def unlike(one: Image.Image, other: Image.Image) -> float:
    """The largest mean difference of a channel, 0 to 255."""
    difference = ImageChops.difference(
        one.convert("RGB"), other.convert("RGB").resize(one.size, Image.Resampling.LANCZOS)
    )
    return float(max(ImageStat.Stat(difference).mean))


def shown(orientation: int) -> tuple[int, int]:
    """The sides of the scene where the camera stores 640x480, as its sensor lies."""
    return (480, 640) if orientation >= 5 else (640, 480)


def turned(orientation: int, own: int | None = None) -> bytes:
    """A JPEG that is the scene once `orientation` is applied; its own EXIF says `own`, or nothing."""
    stored = Image.open(io.BytesIO(pictures.turned(orientation, "PNG", *shown(orientation))))
    exif = Image.Exif()
    if own:
        exif[0x0112] = own
    return pictures.encoded(stored.convert("RGB"), "JPEG", quality=95, exif=exif)


@pytest.mark.parametrize("kind", raws.ALL)
def test_a_raw_file_is_processed_by_its_preview(run: Go, kind: str) -> None:
    data = raws.ALL[kind](raws.preview(quality=95))
    done = run(data, options=RAW)
    assert done.report.format == done.facts["format"] == "raw"
    assert (done.facts["width"], done.facts["height"]) == (640, 480)
    assert unlike(done.picture(), pictures.scene(640, 480)) < 4
    about = done.facts["preview"]
    assert (about["container"], about["width"], about["height"]) == (kind, 640, 480)
    assert about["size"] < len(data)
    assert done.report.facts["phash"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert done.report.facts["validation"]["size"] == len(data)


@pytest.mark.parametrize("own", [None, 3])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("kind", raws.TURNABLE)
def test_the_containers_orientation_is_applied_once(
    run: Go, kind: str, orientation: int, own: int | None
) -> None:
    data = raws.TURNABLE[kind](turned(orientation, own), orientation)
    done = run(data, options=replace(RAW, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000))
    assert (done.facts["width"], done.facts["height"]) == shown(orientation)
    assert done.facts["orientation"] == orientation
    for name in ("thumb_lg", "optimized"):
        assert unlike(done.picture(name), pictures.scene(*shown(orientation))) < 5, name


def test_the_jpegs_own_orientation_counts_where_the_container_has_none(run: Go) -> None:
    assert unlike(run(raws.raf(turned(6, 6)), options=RAW).picture(), pictures.scene(480, 640)) < 5


def test_the_exif_is_the_containers(run: Go) -> None:
    for kind, make in raws.TURNABLE.items():
        exif = run(make(raws.preview(exif=pictures.camera_exif())), options=RAW).facts["exif"]
        assert exif["model"] == "Model 1", kind
        assert (exif["exposureTime"], exif["iso"]) == (0.004, 400), kind
        assert exif["gps"]["longitude"] <= -43, kind
        assert exif["lensModel"] == "Wide 4.25mm f/1.8", kind
    of_the_jpeg = run(raws.raf(raws.preview(exif=pictures.camera_exif())), options=RAW).facts["exif"]
    assert of_the_jpeg["model"] == "Pocket 3"


def test_the_xmp_of_the_container_describes_the_photo(run: Go) -> None:
    packet = described.xmp(described.alternatives("dc:title", "Night"))
    done = run(raws.dng(raws.preview(), more=[(0x02BC, 1, packet)]), options=RAW)
    assert done.facts["descriptive"]["title"] == "Night"
    assert not [warning for warning in done.report.warnings if "XMP" in warning]


@pytest.mark.parametrize("packet", [b"no packet", bytes(MAX_XMP_BYTES + 1)])
def test_xmp_that_says_nothing_or_is_too_long_fails_nothing(run: Go, packet: bytes) -> None:
    done = run(raws.dng(raws.preview(), more=[(0x02BC, 1, packet)]), options=RAW)
    assert "title" not in done.facts.get("descriptive", {})


def test_the_position_is_left_out_where_it_is_not_wanted(run: Go) -> None:
    exif = run(raws.dng(raws.preview()), options=replace(RAW, exif_gps="strip")).facts["exif"]
    assert exif["iso"] == 400
    assert "gps" not in exif


def test_a_preview_much_smaller_than_the_sensor_is_told(run: Go) -> None:
    small = run(raws.dng(raws.preview()), options=RAW)
    assert small.report.warnings == ("the largest preview has 640x480 pixels, the sensor 4032x3024",)
    assert small.facts["preview"]["sensor"] == {"width": 4032, "height": 3024}
    large = run(raws.dng(raws.preview(), sides=(1200, 900)), options=RAW)
    assert large.report.warnings == ()
    assert run(raws.cr2(raws.preview()), options=RAW).facts["preview"]["sensor"] is None


@pytest.mark.parametrize("damage", ["strict", "truncated", "lenient"])
def test_a_damaged_preview_is_judged_as_a_damaged_jpeg(run: Go, damage: Any) -> None:
    whole = pictures.encoded(pictures.detailed(1600, 1200), "JPEG", quality=90)
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 40_000] = bytes(40_000)
    done = run(raws.cr2(bytes(broken)), options=replace(RAW, integrity=damage))
    if damage == "lenient":
        assert "parts of the picture are missing" in done.report.warnings[-1]
    else:
        assert done.code == "FILE_CORRUPTED"


def test_a_file_that_is_cut_behind_its_preview_fails_strictly_and_is_told_otherwise(run: Go) -> None:
    data = raws.cr2(raws.preview())[:-500]
    assert run(data, options=RAW).code == "FILE_CORRUPTED"
    assert run(data, options=replace(RAW, integrity="truncated")).report.warnings == ("the file ends early",)


@pytest.mark.parametrize(
    "declared",
    [
        "image/x-adobe-dng",
        "image/dng",
        "image/x-canon-cr2",
        "image/x-canon-cr3",
        "image/x-nikon-nef",
        "image/x-nikon-nrw",
        "image/x-sony-arw",
        "image/x-fuji-raf",
        "image/x-olympus-orf",
        "image/x-panasonic-rw2",
        "image/x-panasonic-raw2",
        "image/x-pentax-pef",
        "image/x-samsung-srw",
        "image/x-hasselblad-3fr",
        "image/x-dcraw",
        "IMAGE/X-RAW; q=1",
    ],
)
def test_the_content_types_of_raw_files_are_known(run: Go, declared: str) -> None:
    assert declared_format(declared) == "raw"
    assert run(raws.dng(raws.preview()), declared, RAW).code == "done"
    assert run(raws.preview(), declared, RAW).code == "MIME_MISMATCH"


def test_a_raw_file_may_be_declared_as_the_tiff_that_most_of_them_are(run: Go) -> None:
    assert run(raws.nef(raws.preview()), "image/tiff", RAW).code == "done"
    assert run(raws.nef(raws.preview()), "image/jpeg", RAW).code == "MIME_MISMATCH"
    assert run(raws.preview(), "image/tiff", RAW).code == "MIME_MISMATCH"


def test_raw_files_are_off_by_default(run: Go) -> None:
    answer = run(raws.nef(raws.preview())).answer
    assert (answer.code, answer.message) == ("UNSUPPORTED_FORMAT", "raw (nef) is not an allowed format")
