"""Results are written whole or not at all, and never over a photo of the run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fastproc.commands.photos.folder import ResultFolder


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_results_are_written_and_replace_those_of_an_earlier_run(tmp_path: Path) -> None:
    out = tmp_path / "new/out"
    assert ResultFolder(out, []).write([("a_sm.jpg", b"1"), ("a_md.jpg", b"2")]) == (
        out / "a_sm.jpg",
        out / "a_md.jpg",
    )
    ResultFolder(out, []).write([("a_sm.jpg", b"3")])
    assert names(out) == ["a_md.jpg", "a_sm.jpg"]
    assert (out / "a_sm.jpg").read_bytes() == b"3"


def test_a_full_disk_leaves_no_part_of_a_photos_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ResultFolder(tmp_path, [])
    real = Path.write_bytes

    def write_bytes(path: Path, body: bytes) -> int:
        real(path, body[:1])
        if path.name.endswith("b.jpg"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(body)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="No space left"):
        folder.write([("a.jpg", b"12"), ("b.jpg", b"34")])
    assert names(tmp_path) == []


def test_a_photo_of_the_run_is_not_replaced(tmp_path: Path) -> None:
    photo = tmp_path / "a_sm.jpg"
    photo.write_bytes(b"photo")
    folder = ResultFolder(tmp_path, [photo])
    with pytest.raises(FileExistsError, match="is a photo"):
        folder.write([("a_md.jpg", b"1"), ("a_sm.jpg", b"2")])
    assert names(tmp_path) == ["a_sm.jpg"]
    assert photo.read_bytes() == b"photo"


def test_a_photo_that_is_a_link_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"photo")
    link = tmp_path / "a_sm.jpg"
    link.symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        ResultFolder(tmp_path, [link]).write([("a_sm.jpg", b"2")])
    assert link.is_symlink()


def test_a_link_of_a_results_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "a_sm.jpg").symlink_to("precious")
    ResultFolder(tmp_path, []).write([("a_sm.jpg", b"1")])
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "a_sm.jpg").read_bytes() == b"1"
    assert not (tmp_path / "a_sm.jpg").is_symlink()


def test_the_result_of_another_photo_of_the_run_is_not_replaced(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path, [])
    folder.write([("a_b_sm.jpg", b"1")])
    with pytest.raises(FileExistsError):
        folder.write([("a_b_sm.jpg", b"2")])
    assert (tmp_path / "a_b_sm.jpg").read_bytes() == b"1"


def test_a_folder_that_cannot_be_written_is_found_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_bytes(path: Path, body: bytes) -> int:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="Read-only"):
        ResultFolder(tmp_path, [])
