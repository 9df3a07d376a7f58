"""Results are told in valid UTF-8 and under names that tell photos apart, whatever the files are called."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import msgspec

from fastproc.commands.photos.results import FileResult, as_entry, as_json, as_row, labels
from fastproc.core.model import Rendition, Report

FAILED = FileResult(Path("in/a.jpg"), "a", 7, 0.25, code="NOT_READABLE", message="Permission denied")


def test_a_failure_is_told_with_its_code_and_reason() -> None:
    assert as_json(FAILED) == {
        "file": "in/a.jpg",
        "photoId": "a",
        "durationMs": 250,
        "success": False,
        "error": {"code": "NOT_READABLE", "message": "Permission denied"},
    }
    assert not as_row(FAILED, "a.jpg").ok


def test_a_name_that_is_not_utf_8_is_valid_json_and_can_be_had_as_it_is() -> None:
    path = Path(os.fsdecode(b"in/caf\xe9 \xc3\xa9.jpg"))
    line = as_json(FileResult(path, "caf", code="X"))
    decoded = msgspec.json.decode(msgspec.json.encode(line))
    assert decoded["file"] == "in/caf\\xe9 \u00e9.jpg"
    assert base64.b64decode(decoded["fileBase64"]) == b"in/caf\xe9 \xc3\xa9.jpg"


def test_a_name_that_only_looks_escaped_is_written_as_it_is() -> None:
    line = as_json(FileResult(Path("in/caf\\xe9.jpg"), "caf", code="X"))
    assert line["file"] == "in/caf\\xe9.jpg"
    assert "fileBase64" not in line


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    a, b, c = Path("x/a.jpg"), Path("y/a.jpg"), Path("x/c.jpg")
    assert labels([a, b, c]) == {a: "x/a.jpg", b: "y/a.jpg", c: "c.jpg"}
    assert labels([Path(os.fsdecode(b"x/\xe9.jpg"))]).popitem()[1] == "\\xe9.jpg"
    assert labels([Path("..")]) == {Path(".."): ".."}
    assert labels([Path("/")]) == {Path("/"): "/"}


def test_a_thumbnail_that_is_gone_leaves_a_card_without_a_picture(tmp_path: Path) -> None:
    rendition = Rendition(stage="thumbnails", name="sm", width=1, height=1, offset=0, size=1)
    report = Report(width=1, height=1, format="jpeg", facts={}, renditions=(rendition,))
    kept, gone = tmp_path / "kept.jpg", tmp_path / "gone.jpg"
    kept.write_bytes(b"picture")
    entries = [
        as_entry(FileResult(Path("a.jpg"), "a", report=report, written=(path,)), "a") for path in (kept, gone)
    ]
    assert [entry.thumbnail for entry in entries] == [b"picture", None]
