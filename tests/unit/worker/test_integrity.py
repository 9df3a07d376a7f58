"""How photos that end early or are damaged fare under each policy."""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec
import pytest

from fastproc.core import record
from fastproc.core.model import Integrity
from tests import pictures
from tests.unit.worker.conftest import OPTIONS, Run

Go = Callable[..., Run]
POLICIES: tuple[Integrity, ...] = ("strict", "truncated", "lenient")


def under(policy: Integrity) -> object:
    return msgspec.structs.replace(
        OPTIONS, integrity=policy, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000
    )


@functools.cache
def picture(kind: str, **options: object) -> bytes:
    return pictures.encoded(pictures.detailed(1500, 1100), kind, **options)


def damaged_png() -> bytes:
    data = bytearray(picture("PNG"))
    data[data.rfind(b"IDAT") + 40] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("data", [picture("JPEG"), picture("JPEG", progressive=True), picture("GIF")])
def test_a_photo_that_ends_early_passes_with_its_first_part_and_a_warning(run: Go, data: bytes) -> None:
    cut = data[: len(data) * 3 // 4]
    assert run(cut, options=under("strict")).code == "FILE_CORRUPTED"
    for policy in ("truncated", "lenient"):
        done = run(cut, options=under(policy))
        assert done.report.warnings[0] == "the file ends early"
        assert "missing" in done.report.warnings[1]
        assert record.metadata(done.report)["warnings"] == list(done.report.warnings)
        for name in ("thumb_lg", "optimized"):
            shown = done.picture(name).convert("RGB")
            red, green, blue = shown.getpixel((shown.width // 20, shown.height // 20))
            assert red > 150 > 80 > max(green, blue), "the part before the cut must be there"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_photo_with_only_its_end_marker_missing_passes_with_a_warning(run: Go, kind: str) -> None:
    cut = picture(kind)[:-9]
    assert run(cut, options=under("strict")).code == "FILE_CORRUPTED"
    assert run(cut, options=under("truncated")).report.warnings[0] == "the file ends early"


def test_damage_passes_only_where_the_policy_is_lenient(run: Go) -> None:
    for policy in ("strict", "truncated"):
        assert run(damaged_png(), options=under(policy)).code == "FILE_CORRUPTED"
    done = run(damaged_png(), options=under("lenient"))
    assert len(done.report.warnings) == 1
    assert "parts of the picture are missing" in done.report.warnings[0]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sound_photo_has_no_warnings_and_is_decoded_no_more_often(run: Go, policy: Integrity) -> None:
    done = run(picture("JPEG"), options=under(policy))
    assert (done.report.warnings, done.report.decodes) == ((), 2)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_formats_of_which_no_part_can_be_decoded_fail_in_every_policy(
    run: Go, kind: str, policy: Integrity
) -> None:
    data = picture(kind)
    answer = run(data[: len(data) // 2], options=under(policy)).answer
    assert answer.code == "FILE_CORRUPTED"
    assert any(map(str.isalpha, answer.message))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_gates_limits_hold_in_every_policy(run: Go, policy: Integrity) -> None:
    lying = pictures.jpeg_saying(9000, 9000)
    assert run(lying, options=under(policy)).code == "FILE_CORRUPTED"
    small = msgspec.structs.replace(
        under(policy), limits=msgspec.structs.replace(OPTIONS.limits, max_side_px=1000)
    )
    assert run(picture("JPEG")[:-900], options=small).code == "IMAGE_TOO_LARGE"
    too_large = "FILE_CORRUPTED" if policy == "strict" else "IMAGE_TOO_LARGE"
    assert run(picture("PNG")[:-900], options=small).code == too_large
