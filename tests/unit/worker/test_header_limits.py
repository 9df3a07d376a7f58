"""EXIF and colour profiles are bounded: too much EXIF is not read, too large a profile refuses the photo."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests import pictures
from tests.unit.worker.conftest import OPTIONS


def limited(**limits: int) -> Any:
    return replace(OPTIONS, limits=replace(OPTIONS.limits, **limits))


def test_exif_over_the_limit_is_not_read_and_the_photo_passes_with_a_warning(run: Any) -> None:
    data = pictures.jpeg(exif=pictures.camera_exif())
    assert run(data, options=limited(max_exif_bytes=1 << 16)).facts["exif"]
    over = run(data, options=limited(max_exif_bytes=16))
    assert over.facts["exif"] is None
    assert "MAX_EXIF_BYTES" in over.report.warnings[0]


@pytest.mark.parametrize("make", [pictures.jpeg, pictures.png, pictures.webp])
def test_a_profile_over_the_limit_refuses_the_photo(run: Any, make: Any) -> None:
    data = make(icc_profile=pictures.profile("p3"))
    size = len(pictures.profile("p3"))
    assert run(data, options=limited(max_icc_bytes=size)).code == "done"
    assert run(data, options=limited(max_icc_bytes=size // 4)).code == "IMAGE_TOO_COMPLEX"
