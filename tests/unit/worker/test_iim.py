"""IPTC's older form: character sets, the digest, repeated and long datasets; no damage raises anything."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastproc.worker import iim
from tests.described import UTF_8, dataset, iptc, resource
from tests.work import at_most

RECORDS = UTF_8 + b"".join(
    (
        dataset(0, b"\0\4"),
        dataset(5, b"T"),
        dataset(120, "Größe 東京".encode()),
        dataset(80, b"Ann"),
        dataset(80, b"Bo"),
        dataset(25, b"one"),
        dataset(25, b"two"),
        dataset(25, b"one"),
        dataset(55, b"20240229"),
        dataset(60, b"134509-0300"),
        dataset(90, b"Paris"),
        dataset(101, b"France"),
        dataset(110, b"Agency"),
        dataset(116, "© Ann".encode()),
    )
)
SAID = {
    "title": "T",
    "description": "Größe 東京",
    "credit": "Agency",
    "copyright": "© Ann",
    "city": "Paris",
    "country": "France",
    "creator": ["Ann", "Bo"],
    "keywords": ["one", "two"],
    "captureDate": "2024-02-29T13:45:09-03:00",
}


def read(records: bytes) -> dict[str, Any]:
    return iim.parse(iptc(records))[0]


def test_every_field_is_read_from_its_dataset() -> None:
    assert read(RECORDS) == SAID
    assert iim.parse(RECORDS) == (SAID, False), "records without Photoshop's resources around them"


@pytest.mark.parametrize(
    ("digest_of", "changed"),
    [(RECORDS, False), (RECORDS + b"\0", True), (b"", True), (None, False)],
)
def test_a_digest_of_other_records_says_that_they_were_changed(
    digest_of: bytes | None, changed: bool
) -> None:
    assert iim.parse(iptc(RECORDS, digest_of)) == (SAID, changed)


@pytest.mark.parametrize(
    ("announced", "raw", "text"),
    [
        (UTF_8, "Größe".encode(), "Größe"),
        (UTF_8, b"Gr\xf6sse", "Gr\ufffdsse"),
        (b"", "Größe".encode(), "Größe"),
        (b"", b"\x93Gr\xf6sse\x94", "“Grösse”"),
        (dataset(90, b"\x1b.A", record=1), b"Gr\xf6sse", "Grösse"),
        (b"", b"a\x1b[31m\r\nb\0rest", "a [31m b"),
        (b"", b" \0", None),
        (b"", b"", None),
    ],
)
def test_a_text_is_decoded_as_announced_or_as_its_bytes_say(
    announced: bytes, raw: bytes, text: str | None
) -> None:
    assert read(announced + dataset(120, raw)).get("description") == text


def test_the_first_of_a_dataset_that_may_not_be_repeated_counts() -> None:
    assert read(dataset(5, b"T") + dataset(5, b"U")) == {"title": "T"}


def test_a_dataset_of_another_record_is_none_of_ours() -> None:
    assert read(dataset(5, b"T", record=3) + dataset(120, b"D")) == {"description": "D"}


def test_an_extended_dataset_has_a_length_of_its_length() -> None:
    long = struct.pack(">BBBHI", 0x1C, 2, 120, 0x8004, 40_000) + b"x" * 40_000
    assert read(long + dataset(90, b"Paris")) == {"description": "x" * 40_000, "city": "Paris"}


@pytest.mark.parametrize("name", [b"", b"a", b"ab"])
def test_names_and_lengths_of_resources_are_even(name: bytes) -> None:
    records = dataset(5, b"odd")
    data = (
        resource(0x03F3, b"abc", name) + resource(0x0404, records, name) + resource(0x0425, bytes(16), name)
    )
    assert iim.parse(data) == ({"title": "odd"}, True)


@pytest.mark.parametrize("between", [b"", b"\0"])
def test_a_missing_and_a_needless_byte_between_resources_are_forgiven(between: bytes) -> None:
    odd = resource(0x03F3, b"abc")[:-1]
    assert iim.parse(odd + between + between + resource(0x0404, dataset(5, b"T")))[0] == {"title": "T"}


@pytest.mark.parametrize("end", range(0, 200, 7))
def test_what_was_read_before_the_end_stays(end: int) -> None:
    whole = iptc(RECORDS)
    assert iim.parse(whole[:end])[0].items() <= (SAID | iim.parse(whole[:end])[0]).items()
    cut = iim.parse(whole[: whole.index(b"Ann") + 3])[0]
    assert (cut["title"], cut["creator"]) == ("T", ["Ann"])


@pytest.mark.parametrize(
    "data",
    [
        dataset(25, b"") * 100_000,
        b"".join(dataset(25, b"%d" % n) for n in range(60_000)),
        resource(0x0404, b"") * 40_000,
        b"8BIM" * 200_000,
        b"\x1c\x02\x05\xff\xff" * 100_000,
        b"8BIM\x04\x04\0\0\xff\xff\xff\xff" + RECORDS,
    ],
)
def test_hostile_records_cost_little(data: bytes) -> None:
    with at_most(50_000):
        iim.parse(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 300), st.integers(0, 20))
def test_any_bytes_raise_nothing(noise: bytes, at: int, cut: int) -> None:
    whole = iptc(RECORDS, RECORDS)
    iim.parse(whole[:at] + noise + whole[at + cut :])
    iim.parse(b"\x1c" + noise)
