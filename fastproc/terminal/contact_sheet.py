"""Draws the contact sheet: every photo of a run on one page, so that a person sees at a glance what is wrong.

Rule 1: the pictures are our own thumbnails, decoded by Pillow: another library than the one that encoded them.
Rule 2: the font is the one inside Pillow, which has ASCII, `·` and `…`; other characters are replaced (`→` by `>`).
Rule 3: a run of any length gives a page that a viewer can open: after `MOST` photos only their number is shown.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct
from PIL import Image, ImageDraw, ImageFont

from fastproc.terminal.results import ResultRow
from fastproc.terminal.text import human_size

#: RGB, 0..255 | width and height, pixels.
Colour = tuple[int, int, int]
Size = tuple[int, int]

MOST = 96

COLUMNS = 4
MARGIN, GAP, PAD = 48, 24, 16
PICTURE: Size = (400, 300)
TITLE_PX, NOTE_PX, NAME_PX, LINE_PX, CODE_PX = 40, 22, 22, 18, 28
LEADING = 1.38

PAPER: Colour = (22, 23, 26)
CARD: Colour = (34, 36, 40)
MOUNT: Colour = (27, 28, 32)
INK: Colour = (240, 240, 238)
FADED: Colour = (164, 168, 174)
WRONG: Colour = (240, 132, 116)
WRONG_MOUNT: Colour = (54, 30, 30)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: Characters of our texts that the font lacks, and what replaces them. By name, because most look like others.
REPLACED = str.maketrans(
    {
        "\N{RIGHTWARDS ARROW}": ">",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{MINUS SIGN}": "-",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    }
)


class SheetEntry(Struct, frozen=True):
    """One photo on the sheet.

    `thumbnail` is a file that Pillow can read, or None. `lines` are drawn below the name, a few words each. When
    `failed`, the first line is the error's code and is drawn in place of the picture.
    """

    name: str
    thumbnail: bytes | None
    lines: tuple[str, ...]
    failed: bool = False


def contact_sheet(entries: Sequence[SheetEntry], out: Path, title: str) -> None:
    """Write the sheet to `out` as PNG or JPEG, by its suffix; its folder is created if it does not exist.

    The first line of `title` is the heading; further lines are smaller, below it. Raises ValueError for a suffix
    that Pillow cannot write, OSError when the file cannot be written.
    """
    heading, *notes = [printable(line) for line in title.splitlines()] or [""]
    shown = entries[:MOST]
    if len(entries) > MOST:
        notes.append(f"the first {MOST} of {len(entries)} photos")
    columns = max(1, min(COLUMNS, len(shown)))
    rows = -(-len(shown) // columns)
    card = (PICTURE[0], PICTURE[1] + text_height(max((len(below(entry)) for entry in shown), default=0)))
    top = MARGIN + leading(TITLE_PX) + len(notes) * leading(NOTE_PX) + GAP
    width = max(2 * MARGIN + columns * (card[0] + GAP) - GAP, heading_width(heading, notes))
    page = Image.new("RGB", (width, top + rows * (card[1] + GAP) - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 8), heading, INK, font(TITLE_PX))
    for number, note in enumerate(notes):
        at = MARGIN + leading(TITLE_PX) + number * leading(NOTE_PX)
        draw.text((MARGIN, at), note, FADED, font(NOTE_PX))
    for place, entry in enumerate(shown):
        x = MARGIN + place % columns * (card[0] + GAP)
        y = top + place // columns * (card[1] + GAP)
        page.paste(draw_card(entry, card), (x, y), rounded(card))
    out.parent.mkdir(parents=True, exist_ok=True)
    page.save(out, quality=90)


def sheet_lines(row: ResultRow) -> tuple[str, ...]:
    """Return the lines below a photo's name: its sides and format, its size and what the optimised copy saves."""
    size = human_size(row.size_bytes)
    saved = f", optimised copy saves {row.saved_bytes / row.size_bytes:.0%}" if row.saved_bytes else ""
    return f"{row.width} x {row.height} {row.format}", size + saved


def draw_card(entry: SheetEntry, size: Size) -> Image.Image:
    """Return one photo's card: the picture or the error's code, then its name and lines."""
    card = Image.new("RGB", size, CARD)
    draw = ImageDraw.Draw(card)
    draw.rectangle((0, 0, size[0], PICTURE[1] - 1), WRONG_MOUNT if entry.failed else MOUNT)
    picture = None if entry.failed else decoded(entry.thumbnail)
    if picture:
        card.paste(picture, ((PICTURE[0] - picture.width) // 2, (PICTURE[1] - picture.height) // 2))
    else:
        code = entry.lines[0] if entry.failed and entry.lines else "FAILED" if entry.failed else "no picture"
        words = fitted(printable(code), CODE_PX, size[0] - 2 * PAD)
        centre = (PICTURE[0] / 2, PICTURE[1] / 2)
        draw.text(centre, words, WRONG if entry.failed else FADED, font(CODE_PX), anchor="mm")
    y = PICTURE[1] + PAD
    draw.text((PAD, y), fitted(printable(entry.name), NAME_PX, size[0] - 2 * PAD), INK, font(NAME_PX))
    y += leading(NAME_PX)
    for line in below(entry):
        draw.text((PAD, y), fitted(printable(line), LINE_PX, size[0] - 2 * PAD), FADED, font(LINE_PX))
        y += leading(LINE_PX)
    return card


def decoded(thumbnail: bytes | None) -> Image.Image | None:
    """Return the thumbnail in the size of the card's picture; None if there is none or it cannot be read."""
    if thumbnail is None:
        return None
    try:
        picture = Image.open(io.BytesIO(thumbnail)).convert("RGB")
    except OSError:
        return None
    picture.thumbnail(PICTURE, Image.Resampling.LANCZOS)
    return picture


def below(entry: SheetEntry) -> tuple[str, ...]:
    """Return the lines under the name: without a failed photo's code, which is in the picture's place."""
    return entry.lines[1:] if entry.failed else entry.lines


def text_height(lines: int) -> int:
    """Return the pixels that the name and `lines` lines need under the picture."""
    return PAD + leading(NAME_PX) + lines * leading(LINE_PX) + PAD


def leading(size_px: int) -> int:
    """Return the distance from one line to the next, in pixels."""
    return round(size_px * LEADING)


def heading_width(heading: str, notes: Sequence[str]) -> int:
    """Return the pixels that the heading and its notes need, margins included."""
    widths = [font(TITLE_PX).getlength(heading), *(font(NOTE_PX).getlength(note) for note in notes)]
    return round(max(widths)) + 2 * MARGIN


@cache
def font(size_px: int) -> Font:
    """Return the font that is part of Pillow."""
    return ImageFont.load_default(size_px)


def printable(text: str) -> str:
    """Return the text in characters that the font has: some replaced, accents removed, `?` for the rest."""
    plain = unicodedata.normalize("NFKD", text.translate(REPLACED))
    kept = (sign for sign in plain if not unicodedata.combining(sign))
    return "".join(sign if " " <= sign <= "~" or sign == "·" else "?" for sign in kept)


def fitted(text: str, size_px: int, width: int) -> str:
    """Return the text, without its middle if it is wider than `width` pixels: both ends of a file name matter."""
    face = font(size_px)
    if face.getlength(text) <= width:
        return text
    keep = len(text) - 1
    while keep > 1:
        short = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
        if face.getlength(short) <= width:
            return short
        keep -= 1
    return "…"


def rounded(size: Size) -> Image.Image:
    """Return a mask (L): a card with round corners."""
    mask = Image.new("L", (size[0] * 2, size[1] * 2))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 20, 255)
    return mask.reduce(2)
