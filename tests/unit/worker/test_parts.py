"""Libraries inside libvips: what its file says, what its build documents, and no guess beyond."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastproc.worker.vips import parts

ROOT = Path(__file__).parents[3]
BODY = (
    b"\x7fELF mozjpeg version 5.0.0 (build 20260926)\0\0vips\x001.6.58\0vipspng\0"
    b"AOMedia Project AV1 Decoder Inspector v9.9\0AOMedia Project AV1 Decoder v3.15.1\0"
)


def test_a_file_says_which_parts_it_has(tmp_path: Path) -> None:
    (tmp_path / "libvips.so").write_bytes(BODY)
    assert parts.said(tmp_path / "libvips.so") == {
        "mozjpeg": "5.0.0 (build 20260926)",
        "libpng": "1.6.58",
        "libaom": "3.15.1",
    }


def test_a_file_that_says_nothing_or_two_things_of_a_part_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "libvips.so").write_bytes(BODY.replace(b"mozjpeg", b"libjpeg") + b"1.6.37\0")
    assert parts.said(tmp_path / "libvips.so") == {
        "mozjpeg": parts.UNKNOWN,
        "libpng": parts.UNKNOWN,
        "libaom": "3.15.1",
    }


def test_the_wheel_names_all_its_parts() -> None:
    found = parts.versions()
    assert {"mozjpeg", "libpng", "libaom", "libheif (AVIF)", "libwebp", "lcms2"} <= set(found)
    for name, version in found.items():
        assert re.fullmatch(r"\d+(\.\d+)+( by its build| \(build \d+\))?", version), (name, version)


def test_of_a_libvips_that_is_not_the_wheels_only_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_FOLDER", "elsewhere")
    assert set(parts.versions().values()) == {parts.UNKNOWN}


def test_a_wheel_whose_build_was_not_looked_up_is_not_taken_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "BUILDS", {})
    found = parts.versions()
    assert found["libheif (AVIF)"] == parts.UNKNOWN
    assert found["mozjpeg"] != parts.UNKNOWN


def test_a_file_that_cannot_be_read_is_no_reason_not_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_loaded", lambda: Path("/nowhere/libvips.so"))
    assert set(parts.versions().values()) == {parts.UNKNOWN}


@pytest.mark.parametrize("lock", ["run.txt", "lowest.txt"])
def test_the_wheel_that_is_shipped_was_looked_up(lock: str) -> None:
    """Whoever renews the lock looks up what is in the new wheel (CONTRIBUTING.md)."""
    [version] = re.findall(r"^pyvips-binary==(\S+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    assert set(parts.BUILDS[version]) == set(parts._SILENT)
