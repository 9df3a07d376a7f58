"""JPEG XL in a worker whose libvips may read it or not: what is asked of libvips, what is made of its answer."""

from __future__ import annotations

import pytest

from fastproc.core.header import Header
from fastproc.worker.vips import library, opening
from tests import pictures


def opened() -> library.Image:
    picture = pictures.pyvips.Image.black(320, 240, bands=3).copy(interpretation="srgb")
    picture.set_type(pictures.pyvips.GValue.gint_type, "orientation", 6)
    return picture


@pytest.mark.parametrize(("format", "orientation"), [("jxl", None), ("webp", 6)])
def test_a_jpeg_xl_is_upright_whatever_its_exif_says(format: str, orientation: int | None) -> None:
    header = Header(format=format, width=320, height=240)
    assert opening._traits(opened(), header).orientation == orientation


def test_formats_are_readable_if_libvips_has_their_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"jpeg", "png", "webp", "gif", "avif"} <= set(library.readable())
    monkeypatch.setitem(library.LOADERS, "jxl", "nosuchload")
    assert "jxl" not in library.readable()
    monkeypatch.setitem(library.LOADERS, "jxl", "jpegload")
    assert "jxl" in library.readable()


@pytest.mark.parametrize(("formats", "opens"), [(("jpeg",), []), (("jpeg", "jxl"), ["VipsForeignLoadJxl"])])
def test_the_loader_stays_blocked_unless_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, formats: tuple[str, ...], opens: list[str]
) -> None:
    unblocked: list[str] = []
    monkeypatch.setattr(library.pyvips, "operation_block_set", lambda name, state: unblocked.append(name))
    monkeypatch.setitem(library.LOADERS, "jxl", "jpegload")
    library.allow(formats)
    assert unblocked == opens
