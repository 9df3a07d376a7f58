"""Uploads by hand: ids, keys and content types from file names."""

from __future__ import annotations

import pytest

from fastproc.core import uploads
from fastproc.core.naming import SAFE_NAME


@pytest.mark.parametrize(
    ("key", "photo_id"),
    [
        ("photos/p-42.jpg", "p-42"),
        ("p 42 (1).jpeg", "p-42--1-"),
        ("ümlaut.png", "-mlaut"),
        (".hidden", "hidden"),
        ("..", "photo"),
        ("x/" + "a" * 200 + ".jpg", "a" * 128),
        ("a.b.c.jpg", "a.b.c"),
        ("a.", "a."),
        ("photos/2026/", "2026"),
        ("", "photo"),
    ],
)
def test_a_photos_id_is_made_from_its_keys_file_name(key: str, photo_id: str) -> None:
    assert uploads.photo_id(key) == photo_id
    assert SAFE_NAME.fullmatch(photo_id)


def test_names_that_would_have_the_same_id_are_numbered() -> None:
    assert uploads.photo_ids(["a.jpg", "a.png", "b.jpg", "a.webp", "a-2.jpg"]) == [
        "a",
        "a-2",
        "b",
        "a-3",
        "a-2-2",
    ]


def test_many_files_of_one_name_are_numbered_in_one_pass() -> None:
    """A card's folders each have an IMG_0001.JPG: with a search from 2 on for each, this took a minute."""
    ids = uploads.photo_ids(["IMG_0001.JPG"] * 20_000)
    assert len(set(ids)) == 20_000
    assert ids[-1] == "IMG_0001-20000"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jpg", "image/jpeg"),
        ("A.JPEG", "image/jpeg"),
        ("a.b.heic", "image/heic"),
        ("a.tiff", "application/octet-stream"),
        ("jpeg-without-suffix", "application/octet-stream"),
    ],
)
def test_a_content_type_is_told_by_the_suffix(name: str, kind: str) -> None:
    assert uploads.content_type(name) == kind


def test_an_upload_goes_to_the_photos() -> None:
    assert uploads.object_key("a 1.jpg") == "photos/a 1.jpg"
