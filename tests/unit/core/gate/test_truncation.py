"""Files that end early are distinguished from files that are damaged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.errors import ImageError
from fastproc.core.gate.judge import judge
from fastproc.core.gate.truncation import ends_early
from fastproc.core.model import Limits
from tests import pictures

LIMITS = Limits(formats=("jpeg", "png", "webp", "gif", "avif", "heic"), min_side_px=1)
MAKERS = [
    pictures.jpeg,
    lambda: pictures.jpeg(progressive=True, exif=pictures.camera_exif()),
    pictures.png,
    pictures.webp,
    pictures.gif,
    pictures.avif,
]


def early(data: bytes) -> bool:
    return ends_early(memoryview(data), judge(memoryview(data), LIMITS, may_be_cut=True))


@pytest.mark.parametrize("make", MAKERS)
def test_a_whole_file_does_not_end_early_and_one_without_its_end_does(make: Callable[[], bytes]) -> None:
    whole = make()
    assert not early(whole)
    assert early(whole[:-9])
    assert early(whole[: len(whole) * 3 // 4])


@pytest.mark.parametrize("make", MAKERS)
def test_a_damaged_file_that_has_its_end_does_not_end_early(make: Callable[[], bytes]) -> None:
    data = bytearray(make())
    data[len(data) * 3 // 4] ^= 0x55
    assert not early(bytes(data))


def test_junk_after_the_end_changes_nothing() -> None:
    assert not early(pictures.jpeg() + b"film" * 999)
    assert not early(pictures.gif() + bytes(100))


def test_an_end_marker_across_two_windows_is_found() -> None:
    head = pictures.jpeg()
    scan = head.find(b"\xff\xda")
    filled = head[:-2] + bytes((1 << 20) - (len(head) - 2 - scan) - 1) + b"\xff\xd9"
    assert not early(filled)
    assert early(filled[:-1])


def test_the_end_of_a_thumbnail_in_the_exif_is_not_the_pictures() -> None:
    data = pictures.jpeg(exif=pictures.camera_exif() + b"\xff\xd8\xff\xd9")
    assert early(data[:-40])


def test_a_file_that_is_cut_passes_the_gate_only_where_it_may() -> None:
    for make in (pictures.png, pictures.webp):
        cut = make()[:-9]
        with pytest.raises(ImageError, match="cut short"):
            judge(cut, LIMITS)
        assert not judge(cut, LIMITS, may_be_cut=True).whole
    tiny = Limits(formats=("png",), max_side_px=10, min_side_px=1)
    with pytest.raises(ImageError, match="over 10 px"):
        judge(pictures.png()[:-9], tiny, may_be_cut=True)


@given(st.binary(max_size=200), st.integers(0, 2000), st.sampled_from(MAKERS))
def test_no_file_raises(noise: bytes, at: int, make: Callable[[], bytes]) -> None:
    whole = make()
    data = whole[:at] + noise + whole[at + len(noise) :]
    header = judge(whole, LIMITS)
    assert ends_early(memoryview(data), header) in (True, False)
