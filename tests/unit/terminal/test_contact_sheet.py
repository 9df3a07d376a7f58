"""The contact sheet: every photo has its place, failures are told apart, nothing that a run yields breaks it."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from fastproc.terminal import contact_sheet as sheet
from fastproc.terminal.contact_sheet import SheetEntry, contact_sheet

TEAL, PINK = (20, 140, 130), (200, 60, 120)


def jpeg(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG", quality=95)
    return out.getvalue()


def entry(name: str, colour: tuple[int, int, int] = TEAL, size: tuple[int, int] = (600, 400)) -> SheetEntry:
    return SheetEntry(name, jpeg(size, colour), ("jpeg · 4000 × 3000", "3.1 MiB → 1.6 MiB"))  # noqa: RUF001


def box_of(page: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """The smallest box around the pixels that are `colour`, give or take what JPEG does."""
    bands = page.convert("RGB").split()
    near = [
        band.point([255 * (abs(v - c) < 6) for v in range(256)])
        for band, c in zip(bands, colour, strict=True)
    ]
    all_near = Image.merge("RGB", near).convert("L").point([0] * 255 + [255])
    return all_near.getbbox()


def drawn(
    folder: Path, entries: list[SheetEntry], title: str = "a run", name: str = "sheet.png"
) -> Image.Image:
    out = folder / "made" / name
    contact_sheet(entries, out, title)
    with Image.open(out) as page:
        page.load()
        return page


def test_thumbnails_keep_their_aspect_and_their_order(tmp_path: Path) -> None:
    page = drawn(tmp_path, [entry("a.jpg", TEAL, (600, 400)), entry("b.jpg", PINK, (300, 600))])
    left, right = box_of(page, TEAL), box_of(page, PINK)
    assert left is not None
    assert right is not None
    assert (left[2] - left[0]) / (left[3] - left[1]) == pytest.approx(1.5, rel=0.02)
    assert (right[2] - right[0]) / (right[3] - right[1]) == pytest.approx(0.5, rel=0.02)
    assert left[2] < right[0]


def test_a_fifth_photo_begins_a_second_row(tmp_path: Path) -> None:
    four = drawn(tmp_path, [entry(f"{n}.jpg") for n in range(4)])
    five = drawn(tmp_path, [*(entry(f"{n}.jpg") for n in range(4)), entry("4.jpg", PINK)])
    box = box_of(five, PINK)
    assert five.width == four.width
    assert box is not None
    assert box[0] < four.width / 4
    assert box[1] > four.height - sheet.MARGIN


def test_a_failed_photo_shows_its_code_instead_of_a_picture(tmp_path: Path) -> None:
    failed = SheetEntry("c.jpg", jpeg((600, 400), TEAL), ("FILE_CORRUPTED", "cut short"), failed=True)
    page = drawn(tmp_path, [failed])
    assert box_of(page, TEAL) is None
    assert box_of(page, sheet.WRONG_MOUNT) is not None
    code = box_of(page, sheet.WRONG)
    assert code is not None
    assert 150 < code[2] - code[0] < sheet.PICTURE[0]


def test_what_is_written_below_a_picture_is_seen(tmp_path: Path) -> None:
    bare = SheetEntry("a.jpg", jpeg((600, 400), TEAL), ("", ""))
    told = SheetEntry("a.jpg", jpeg((600, 400), TEAL), ("4000 x 3000", "132 ms"))
    renamed = msgspec.structs.replace(told, name="b.jpg")
    pages = {drawn(tmp_path, [one]).tobytes() for one in (bare, told, renamed)}
    assert len(pages) == 3


@pytest.mark.parametrize("broken", [None, b"", b"not a picture", jpeg((600, 400), TEAL)[:900]])
def test_a_thumbnail_that_cannot_be_read_leaves_a_card(tmp_path: Path, broken: bytes | None) -> None:
    page = drawn(tmp_path, [SheetEntry("a.jpg", broken, ()), entry("b.jpg", PINK)])
    assert box_of(page, TEAL) is None
    assert box_of(page, PINK) is not None


def test_a_run_without_photos_gives_a_page(tmp_path: Path) -> None:
    page = drawn(tmp_path, [], "nothing to do")
    assert box_of(page, sheet.INK) is not None


def test_a_long_run_stays_a_page_that_a_viewer_opens(tmp_path: Path) -> None:
    one = entry("a.jpg", size=(30, 20))
    most = drawn(tmp_path, [one] * sheet.MOST)
    more = drawn(tmp_path, [one] * (sheet.MOST + 500))
    assert more.height - most.height == sheet.leading(sheet.NOTE_PX)


def test_the_suffix_chooses_the_format(tmp_path: Path) -> None:
    assert drawn(tmp_path, [entry("a.jpg")], name="s.png").format == "PNG"
    assert drawn(tmp_path, [entry("a.jpg")], name="s.jpg").format == "JPEG"
    with pytest.raises(ValueError, match="extension"):
        contact_sheet([], tmp_path / "s.unheard-of", "")


def test_a_name_of_any_length_and_script_is_drawn_inside_its_card(tmp_path: Path) -> None:
    name = "Übersicht 写真 \n\x00 " + "very-long-" * 12 + "end.jpg"
    page = drawn(tmp_path, [SheetEntry(name, None, (name,)), entry("b.jpg")])
    assert page.width == 2 * sheet.MARGIN + 2 * sheet.PICTURE[0] + sheet.GAP
    short = sheet.fitted(sheet.printable(name), sheet.NAME_PX, sheet.PICTURE[0])
    assert short.startswith("Ubersicht ?")
    assert "…" in short
    assert short.endswith("end.jpg")
    assert sheet.font(sheet.NAME_PX).getlength(short) <= sheet.PICTURE[0]


def test_signs_that_the_font_lacks_are_spelled() -> None:
    assert sheet.printable("3 × 4 → 5 − 1 · é… ✓") == "3 x 4 > 5 - 1 · e... ?"  # noqa: RUF001


def test_a_name_cannot_break_its_line(tmp_path: Path) -> None:
    broken, asked = (
        drawn(tmp_path, [SheetEntry(f"a{sign}b", None, (f"c{sign}d",))], f"run{sign}").tobytes()
        for sign in "\x00?"
    )
    assert broken == asked
