"""Gain maps: found, checked, turned and written anew on the optimised copy, or dropped with a reason."""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageChops, ImageStat, MpoImagePlugin

from fastproc.core.model import Options
from fastproc.ipc.messages import Done
from fastproc.worker import jpeg_segments, main, stage
from fastproc.worker.colour import profile
from fastproc.worker.gain_map import dialects, keeping, numbers, writing, xmp
from tests import gain_maps, pictures
from tests.unit.worker.conftest import ENCODERS, OPTIONS, Run

Go = Callable[..., Run]
COPYING = msgspec.structs.replace(OPTIONS, optimize_threshold_bytes=0, optimize_min_saving_percent=-1000)
DROPPED = "the gain map was not kept: "


def copying(**changes: Any) -> Options:
    return msgspec.structs.replace(COPYING, **changes)


def fate(done: Run) -> tuple[str | None, tuple[str, ...]]:
    """What became of the map, and why."""
    return done.report.facts["optimization"].get("gainMap"), done.report.warnings


def map_of(copy: bytes) -> Image.Image:
    """The second picture, as Pillow finds it by the index. (It opens what says hdrgm:Version as one picture.)"""
    file = MpoImagePlugin.MpoImageFile(io.BytesIO(copy))
    assert file.n_frames == 2
    file.seek(1)
    file.load()
    return file.copy()


def said(copy: bytes) -> dict[str, list[float]]:
    """Adobe's numbers in the map's XMP, each as a list; found by their text alone."""
    text = copy[copy.rindex(b"<x:xmpmeta") :].split(b"</x:xmpmeta>")[0].decode()
    found = {name: [float(value)] for name, value in re.findall(r'hdrgm:(\w+)="(-?[\d.]+)"', text)}
    for name, items in re.findall(r"<hdrgm:(\w+)><rdf:Seq>(.*?)</rdf:Seq>", text):
        found[name] = [float(item) for item in re.findall(r"<rdf:li>(.*?)</rdf:li>", items)]
    return found


def unlike(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_map_is_turned_as_the_picture_is(run: Go, orientation: int) -> None:
    photo = pictures.turned(orientation)
    gain_map = pictures.turned(orientation, shown=pictures.scene(80, 60, "L"))
    done = run(gain_maps.ultra_hdr(photo, gain_map), options=COPYING)
    assert fate(done) == ("kept", ())
    copy = done.bytes_of("optimized")
    assert Image.open(io.BytesIO(copy)).size == (320, 240)
    assert map_of(copy).mode == "L"
    assert unlike(map_of(copy), pictures.scene(80, 60, "L")) < 3


def test_all_that_the_copy_says_of_its_map_agrees(run: Go) -> None:
    copy = run(gain_maps.ultra_hdr(), options=COPYING).bytes_of("optimized")
    start = copy.rindex(b"\xff\xd8\xff")
    assert copy[start - 2 : start] == b"\xff\xd9", "the map follows the picture"
    assert f'Item:Length="{len(copy) - start}"'.encode() in copy[:start]
    at = copy.index(b"MPF\0MM\0*") + 4
    _, size, offset, *_, map_size, map_offset = struct.unpack_from(">IIIHHIII", copy, at + 50)
    assert (size, offset, map_size, at + map_offset) == (start, 0, len(copy) - start, start)
    assert copy[:start].count(b"hdrgm:Version") == 1
    assert copy[:start].count(gain_maps.ISO + bytes(4)) == copy[start:].count(gain_maps.ISO) == 1
    assert copy.count(b"\xff\xd8\xff") == 2


def test_a_copy_with_a_map_has_the_profile_that_ultra_hdr_requires(run: Go) -> None:
    copy = run(gain_maps.ultra_hdr(pictures.display_p3()), options=COPYING).bytes_of("optimized")
    assert profile.is_srgb(Image.open(io.BytesIO(copy)).info["icc_profile"])
    grey = run(gain_maps.ultra_hdr(pictures.jpeg(mode="L")), options=COPYING)
    assert fate(grey)[0] == "kept"
    assert b"ICC_PROFILE" not in grey.bytes_of("optimized"), (
        "a profile of three colours is none of a grey picture"
    )


@pytest.mark.parametrize("sides", [(4000, 2252), (1281, 721), (337, 1023)])
def test_a_map_whose_sides_are_rounded_has_the_photos_shape(run: Go, sides: tuple[int, int]) -> None:
    for each in (math.floor, math.ceil):
        gain_map = gain_maps.a_map(each(sides[0] / 16), each(sides[1] / 16))
        assert fate(run(gain_maps.ultra_hdr(pictures.jpeg(*sides), gain_map), options=COPYING))[0] == "kept"


DIALECTS = {
    "attributes": gain_maps.adobe(),
    "elements": gain_maps.adobe({name: [value] for name, value in gain_maps.NUMBERS.items()}),
    "another prefix": gain_maps.adobe(prefix="g"),
    "ISO": gain_maps.iso(),
    "ISO, one denominator": gain_maps.iso(denominator=64),
    "both": gain_maps.iso() + gain_maps.adobe(gain_maps.NUMBERS | {"GainMapMax": "3"}),
    "ISO, three equal channels": gain_maps.iso(channels=[gain_maps.CHANNEL] * 3),
    "other XMP and profile first": gain_maps.segment(0xE1, b"Exif\0\0II*\0") + gain_maps.adobe(),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_gives_the_same_numbers(run: Go, name: str) -> None:
    done = run(gain_maps.ultra_hdr(means=DIALECTS[name]), options=COPYING)
    assert fate(done) == ("kept", ())
    assert said(done.bytes_of("optimized")) == {
        "Version": [1.0],
        "GainMapMin": [0.0],
        "GainMapMax": [2.0],
        "Gamma": [1.0],
        "OffsetSDR": [0.015625],
        "OffsetHDR": [0.015625],
        "HDRCapacityMin": [0.0],
        "HDRCapacityMax": [2.0],
    }
    assert gain_maps.iso()[4:] in done.bytes_of("optimized")


def test_numbers_survive_with_sign_and_fraction(run: Go) -> None:
    channel = (Fraction(-3, 2), Fraction(17, 5), Fraction(11, 20), Fraction(0), Fraction(1, 1024))
    means = gain_maps.iso((Fraction(0), Fraction(13, 4)), [channel])
    copy = run(gain_maps.ultra_hdr(means=means), options=COPYING).bytes_of("optimized")
    assert means[4:] in copy
    found = said(copy)
    assert (found["GainMapMin"], found["GainMapMax"], found["Gamma"]) == ([-1.5], [3.4], [0.55])
    assert found["OffsetHDR"] == [0.0009766]


@pytest.mark.parametrize(("headroom", "gain", "stops"), [
    ((0, 1), (1, 1000), 1.78),
    ((0, 1), (1, 10), 1.5909),
    ((1, 1), (1, 1000), 2.93),
    ((1, 1), (1, 10), 2.2727),
])  # fmt: skip
def test_the_headroom_of_an_iphone_is_in_its_maker_note(
    run: Go, headroom: tuple[int, int], gain: tuple[int, int], stops: float
) -> None:
    photo = pictures.jpeg(exif=gain_maps.maker_note(headroom, gain))
    done = run(gain_maps.apple(photo), options=COPYING)
    assert done.facts["gainMap"] is True
    assert fate(done) == ("kept", ())
    assert said(done.bytes_of("optimized"))["GainMapMax"] == [pytest.approx(stops, abs=1e-4)]


@pytest.mark.parametrize("order", [">", "<"])
def test_apples_pixels_are_translated(run: Go, order: str) -> None:
    ramp = Image.linear_gradient("L").resize((160, 120))
    gain_map = pictures.encoded(ramp, "JPEG", quality=100)
    done = run(gain_maps.apple(gain_map=gain_map, headroom="4.0", order=order), options=COPYING)
    assert fate(done) == ("kept", ())
    copy = done.bytes_of("optimized")
    assert said(copy)["GainMapMax"] == [2.0]
    assert said(copy)["OffsetSDR"] == [0.0]
    signal = np.asarray(ramp, float) / 255
    linear = np.where(signal < 0.081, signal / 4.5, ((signal + 0.099) / 1.099) ** (1 / 0.45))
    stops = np.asarray(map_of(copy), float) / 255 * 2
    assert np.abs(stops - np.log2(1 + 3 * linear)).max() < 0.03


@pytest.mark.parametrize(("file", "why"), [
    (gain_maps.apple(), "its headroom is not known"),
    (gain_maps.apple(headroom="1.0"), "the map has no effect"),
    (gain_maps.apple(headroom="nan"), "the map has no effect"),
    (gain_maps.apple(headroom="inf"), "its numbers are not possible"),
    (gain_maps.ultra_hdr(means=b""), "it is not in the file"),
    (gain_maps.ultra_hdr(means=gain_maps.segment(0xE2, gain_maps.iso()[4:-3])), "its numbers are cut short"),
    (gain_maps.ultra_hdr(means=gain_maps.segment(0xE2, gain_maps.ISO + b"\0\1" + bytes(90))), "version 1"),
    (gain_maps.ultra_hdr(means=gain_maps.segment(0xE2, gain_maps.ISO + bytes(90))), "its numbers are cut short"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"BaseRenditionIsHDR": "True"})), "brighter"),
    (gain_maps.ultra_hdr(means=gain_maps.iso((Fraction(2), Fraction(0)))), "brighter"),
    (gain_maps.ultra_hdr(means=gain_maps.iso((Fraction(2), Fraction(2000001, 1000000)))), "has no effect"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe({"GainMapMax": "1"})), "HDRCapacityMax is missing"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"Gamma": ["1", "2"]})), "Gamma is neither"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"Gamma": "many"})), "Gamma is neither"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"Gamma": "0"})), "its range"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"GainMapMin": "3"})), "its range"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"GainMapMax": "inf"})), "its numbers"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"GainMapMax": "1e9"})), "its numbers"),
    (gain_maps.ultra_hdr(means=gain_maps.adobe(gain_maps.NUMBERS | {"OffsetSDR": "nan"})), "its offsets"),
    (gain_maps.ultra_hdr(gain_map=gain_maps.a_map(400, 300)), "more pixels than the photo"),
    (gain_maps.ultra_hdr(gain_map=gain_maps.a_map(80, 57)), "another shape"),
    (gain_maps.ultra_hdr(gain_map=gain_maps.a_map(60, 80)), "another shape"),
    (gain_maps.ultra_hdr(gain_map=pictures.jpeg(progressive=True, subsampling=0)), "too much memory"),
    (gain_maps.ultra_hdr(gain_map=pictures.jpeg(80, 60, "CMYK")), "it has 4 channels"),
    (gain_maps.ultra_hdr(gain_map=gain_maps.a_map()[:-400] + b"\xff\xd9"), "it cannot be decoded"),
    (gain_maps.ultra_hdr()[:-400], "it cannot be decoded"),
    (gain_maps.ultra_hdr(gain_map=pictures.jpeg_saying(8000, 8000)), "it cannot be decoded"),
])  # fmt: skip
def test_a_map_that_cannot_be_kept_is_dropped_with_a_reason_and_the_photo_is_not_hurt(
    run: Go, file: bytes, why: str
) -> None:
    done = run(file, options=COPYING)
    outcome, warnings = fate(done)
    assert outcome == "dropped"
    assert len(warnings) == 1
    assert warnings[0].startswith(DROPPED)
    assert why in warnings[0]
    copy = done.bytes_of("optimized")
    assert copy == run(pictures.jpeg(), options=COPYING).bytes_of("optimized"), "the copy is as without a map"


def test_nothing_else_of_the_file_is_in_the_copy(run: Go) -> None:
    film = b"\0\0\0\x18ftypmp42 a film" + bytes(500)
    private = gain_maps.segment(0xE1, b"Exif\0\0II*\0 private") + gain_maps.segment(0xFE, b"private")
    photo = gain_maps.with_segments(pictures.jpeg(exif=pictures.camera_exif()), private)
    gain_map = gain_maps.with_segments(gain_maps.a_map(), private)
    done = run(gain_maps.ultra_hdr(photo, gain_map, film=film), options=COPYING)
    assert fate(done) == ("kept", ())
    copy = done.bytes_of("optimized")
    for trace in (b"private", b"Exif", b"film", b"MotionPhoto", b"Acme"):
        assert trace not in copy
    assert copy.endswith(b"\xff\xd9")
    for rendition in done.report.renditions:
        if rendition.name != "optimized":
            assert b"hdrgm" not in done.bytes_of(rendition.name)


def test_a_map_is_found_without_an_index_and_where_the_index_is_wrong(run: Go) -> None:
    second = gain_maps.with_segments(gain_maps.a_map(), gain_maps.adobe())
    photo = gain_maps.with_segments(pictures.jpeg(), gain_maps.directory(len(second)))
    whole = gain_maps.ultra_hdr()
    at = whole.index(b"MPF\0") + 4 + 50 + 16 + 8
    wrong = whole[:at] + struct.pack(">I", 7) + whole[at + 4 :]
    for file in (photo + second, photo + bytes(100) + second, wrong):
        assert fate(run(file, options=COPYING)) == ("kept", ())


def test_of_several_pictures_the_map_is_the_one_that_says_so(run: Go) -> None:
    photo, second = pictures.jpeg(), gain_maps.with_segments(gain_maps.a_map(), gain_maps.adobe())
    other = gain_maps.a_map(64, 48)
    own = gain_maps.directory(len(second))
    length = len(gain_maps.index(0, [0, 0], 0))
    found = gain_maps.index(len(photo) + len(own) + length, [len(other), len(second)], 2 + len(own))
    done = run(gain_maps.with_segments(photo, own, found) + other + second, options=COPYING)
    assert fate(done) == ("kept", ())
    assert map_of(done.bytes_of("optimized")).size == (80, 60)


@pytest.mark.parametrize(
    "change", [{"gain_map": "drop"}, {"optimize_format": "webp"}, {"optimize_format": "avif"}]
)
def test_a_map_that_is_not_wanted_is_dropped_without_a_warning(run: Go, change: dict[str, Any]) -> None:
    done = run(gain_maps.ultra_hdr(), options=copying(**change))
    assert fate(done) == ("dropped", ())
    assert done.facts["gainMap"] is True
    assert b"hdrgm" not in done.bytes_of("optimized")


def test_a_photo_without_a_map_says_nothing_of_one(run: Go) -> None:
    assert fate(run(pictures.jpeg(), options=COPYING)) == (None, ())


def test_the_map_counts_in_what_the_copy_saves(run: Go) -> None:
    noise = Image.effect_noise((320, 240), 90)
    file = gain_maps.ultra_hdr(gain_map=pictures.encoded(noise, "JPEG", quality=50))
    kept = run(file, options=COPYING).report.facts["optimization"]
    without = run(file, options=copying(gain_map="drop")).report.facts["optimization"]
    assert kept["optimizedSize"] > without["optimizedSize"] + 10_000
    between = (kept["savingsPercent"] + without["savingsPercent"]) / 2
    done = run(file, options=copying(optimize_min_saving_percent=between))
    assert done.report.facts["optimization"] == {
        "optimized": False,
        "reason": "Savings not significant",
        "originalSize": len(file),
        "optimizedSize": kept["optimizedSize"],
        "savingsPercent": kept["savingsPercent"],
    }


def test_three_equal_bands_become_one(run: Go) -> None:
    grey = pictures.scene(80, 60, "L").convert("RGB")
    done = run(gain_maps.ultra_hdr(gain_map=pictures.encoded(grey, "JPEG", quality=95)), options=COPYING)
    assert map_of(done.bytes_of("optimized")).mode == "L"
    assert unlike(map_of(done.bytes_of("optimized")), pictures.scene(80, 60, "L")) < 3


def test_a_map_with_more_than_a_quarter_of_the_photos_pixels_is_reduced(run: Go) -> None:
    for sides, kept in (((160, 120), (160, 120)), ((320, 240), (160, 120)), ((200, 150), (100, 75))):
        done = run(gain_maps.ultra_hdr(gain_map=gain_maps.a_map(*sides)), options=COPYING)
        assert map_of(done.bytes_of("optimized")).size == kept
        assert unlike(map_of(done.bytes_of("optimized")), pictures.scene(*kept, "L")) < 6


THREE = [gain_maps.CHANNEL, (*gain_maps.CHANNEL[:1], Fraction(1), *gain_maps.CHANNEL[2:]), gain_maps.CHANNEL]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_gains_for_each_colour_are_kept_for_an_srgb_photo(run: Go, mode: str) -> None:
    done = run(gain_maps.ultra_hdr(gain_map=gain_maps.a_map(mode=mode), means=gain_maps.iso(channels=THREE)),
               options=COPYING)  # fmt: skip
    assert fate(done) == ("kept", ())
    copy = done.bytes_of("optimized")
    assert said(copy)["GainMapMax"] == [2.0, 1.0, 2.0]
    assert gain_maps.iso(channels=THREE)[4:] in copy
    assert map_of(copy).mode == "RGB"
    assert unlike(map_of(copy), pictures.scene(80, 60, mode).convert("RGB")) < 6


#: Linear Display-P3 to linear sRGB.
FROM_P3 = np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]])


@pytest.mark.parametrize("in_base", [True, False])
def test_gains_for_each_colour_of_another_space_become_those_of_srgb(run: Go, in_base: bool) -> None:
    """A grey photo, lit in colours: what the map's gains make of it is the same light in both spaces."""
    profile = pictures.profile("p3")
    photo = pictures.encoded(
        Image.new("RGB", (320, 240), (180, 180, 180)),
        "JPEG",
        quality=95,
        icc_profile=profile if in_base else None,
    )
    colours = Image.new("RGB", (80, 60), (255, 120, 60))
    colours.paste((128, 200, 20), (0, 0, 40, 60))
    gain_map = pictures.encoded(
        colours,
        "JPEG",
        quality=100,
        subsampling="4:4:4",
        icc_profile=pictures.profile("srgb") if in_base else profile,
    )
    done = run(gain_maps.ultra_hdr(photo, gain_map, gain_maps.iso(in_base=in_base)), options=COPYING)
    assert fate(done) == ("kept", ())
    copy, found = done.bytes_of("optimized"), said(done.bytes_of("optimized"))
    low, high = found["GainMapMin"][0], found["GainMapMax"][0]
    stored = np.asarray(map_of(copy), float) / 255
    for x in (20, 60):
        wanted = FROM_P3 @ 2 ** (np.array(colours.getpixel((x, 30))) / 255 * 2)
        made = 2 ** (low + (high - low) * stored[30, x])
        assert np.abs(np.log2(made / wanted)).max() < 0.04
    assert found["HDRCapacityMax"] == [2.0]


@pytest.mark.parametrize("photo", [
    pictures.jpeg(mode="L"),
    pictures.jpeg(mode="CMYK"),
    pictures.jpeg(icc_profile=pictures.profile("p3")[:140]),
])  # fmt: skip
def test_gains_for_each_colour_of_a_space_without_a_matrix_are_dropped(run: Go, photo: bytes) -> None:
    coloured = run(gain_maps.ultra_hdr(photo, gain_maps.a_map(mode="RGB")), options=COPYING)
    assert fate(coloured)[0] == "dropped"
    assert "it has gains for each colour" in fate(coloured)[1][-1]
    assert fate(run(gain_maps.ultra_hdr(photo), options=COPYING))[0] == "kept", "one gain for all is right"


def test_the_map_of_a_picture_that_is_hdr_itself_is_dropped(run: Go) -> None:
    # The profile's first tag becomes `cicp`: BT.2020, PQ.
    named = bytearray(pictures.profile("p3"))
    at = struct.unpack_from(">I", named, 136)[0]
    named[132:136], named[at : at + 12] = b"cicp", b"cicp" + bytes(4) + bytes((9, 16, 0, 1))
    done = run(gain_maps.ultra_hdr(pictures.jpeg(icc_profile=bytes(named))), options=COPYING)
    assert fate(done)[0] == "dropped"
    assert "the picture is HDR itself" in fate(done)[1][-1]


def test_offsets_that_differ_by_colour_cannot_be_converted(run: Go) -> None:
    other = (*gain_maps.CHANNEL[:3], Fraction(1, 32), Fraction(1, 64))
    means = gain_maps.iso(channels=[gain_maps.CHANNEL, other, other])
    file = gain_maps.ultra_hdr(pictures.display_p3(), gain_maps.a_map(mode="RGB"), means)
    assert "cannot be converted" in fate(run(file, options=COPYING))[1][0]


def test_further_descriptions_stand_in_the_same_packet() -> None:
    gain = numbers.checked([numbers.Channel(minimum=0, maximum=1)], (0, 1))
    rights = jpeg_segments.description(
        {"dc": "http://purl.org/dc/elements/1.1/"}, {"dc:creator": 'A "B" & <C>\0\ud800'}
    )
    made = writing.joined(pictures.jpeg(), gain_maps.a_map(), gain, descriptions=[rights])
    assert made[2:4] == b"\xff\xe0", "JFIF stays the first segment"
    assert made[: made.rindex(b"\xff\xd8\xff")].count(b"<x:xmpmeta") == 1
    assert map_of(made).size == (80, 60)
    packet = Image.open(io.BytesIO(made)).info["xmp"]
    assert b"GainMap" in packet
    assert b'dc:creator="A &quot;B&quot; &amp; &lt;C&gt;"' in packet


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "%s">]><x xmlns:h="%s" h:GainMapMax="1">&a;</x>' % (
    b"ha" * 100,
    gain_maps.ADOBE.encode(),
)


def test_xmp_with_a_document_type_is_refused_whole() -> None:
    assert xmp.properties(LAUGHS) == {}
    assert xmp.properties(LAUGHS[LAUGHS.index(b"]>") + 2 :].replace(b"&a;", b"")) != {}


def test_xmp_is_bounded_in_depth_number_and_length() -> None:
    names = f'xmlns:h="{gain_maps.ADOBE}"'
    assert xmp.properties(f"<x {names}>{'<y>' * 40}<y h:Gamma='1'/>{'</y>' * 40}</x>".encode()) == {}
    many = f"<x {names} h:Said='{'1' * 9000}'><h:Gamma>{'<y>1</y>' * 3000}</h:Gamma><h:Long>{'1' * 9000}</h:Long></x>"
    found = xmp.properties(many.encode())
    assert found[gain_maps.ADOBE, "Gamma"] == ["1"] * xmp.MAX_VALUES
    assert [len(found[gain_maps.ADOBE, name][0]) for name in ("Long", "Said")] == [xmp.MAX_VALUE_CHARS] * 2


@pytest.mark.parametrize("name", ["cp1252", "utf-16", "no such encoding"])
def test_the_encoding_that_xmp_declares_is_not_asked_for(name: str) -> None:
    packet = gain_maps.adobe()[4 + len(gain_maps.XMP) :]
    declared = f'<?xml version="1.0" encoding="{name}"?>'.encode()
    if " " not in name:
        assert xmp.properties(declared + packet) == xmp.properties(packet) != {}
    assert xmp.properties(declared) == {}


def test_what_was_read_before_padding_counts() -> None:
    packet = gain_maps.adobe()[4 + len(gain_maps.XMP) :]
    assert xmp.properties(packet + bytes(50)) == xmp.properties(packet) != {}


def test_of_thousands_of_packets_one_is_read_in_each_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = xmp.properties
    monkeypatch.setattr(xmp, "properties", lambda packet: (read.append(len(packet)), real(packet))[1])
    empty = gain_maps.packet(" " * 60_000, {})
    second = gain_maps.with_segments(gain_maps.a_map(), *[empty] * 200)
    with pytest.raises(numbers.NotKept):
        keeping.find(memoryview(pictures.jpeg() + second * 20), None)
    assert len(read) == 16


def test_the_published_formula_has_no_headroom_below_none() -> None:
    photo = gain_maps.maker_note((0, 1), (100, 1))
    with pytest.raises(numbers.NotKept, match="no effect"):
        dialects.from_apple({}, photo)


def test_gains_follow_the_formula() -> None:
    channel = numbers.Channel(minimum=-1, maximum=3, gamma=2)
    found = numbers.gains(channel)
    assert (found[0], found[255]) == (0.5, 8)
    assert found[64] == pytest.approx(2 ** (-1 + 4 * math.sqrt(64 / 255)))


def test_a_worker_tries_a_gain_map_before_its_first_photo() -> None:
    thrifty = msgspec.structs.replace(OPTIONS, optimize_min_saving_percent=99)
    answers = main.warm_up(thrifty, stage.load(thrifty.stages), ENCODERS)
    done = answers["gain map"]
    assert isinstance(done, Done)
    assert done.report.facts["optimization"]["gainMap"] == "kept"
