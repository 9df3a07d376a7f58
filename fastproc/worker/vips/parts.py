"""Names the libraries inside libvips' wheel with their versions, for the log and `fastproc check`.

Rule 1: what the loaded file says itself comes first; what its build documents is marked as such; the rest is unknown.
        Nothing is guessed: a libvips that is not the wheel's has its libraries elsewhere, and says nothing of them.
Rule 2: the file is read once, before the jail is shut; it is ours, not a stranger's.
"""

from __future__ import annotations

import mmap
import re
from importlib import metadata
from pathlib import Path
from typing import Final

#: Library -> how the text begins that tells its version, and the whole of it: messages of libjpeg and libaom, and the
#: version with which libvips calls libpng. (A search for bytes is several times faster than one for a pattern.)
_SAYS: Final = {
    "mozjpeg": (b"mozjpeg version ", re.compile(rb"mozjpeg version (\d[^\0]{0,40})\0")),
    "libpng": (b"1.6.", re.compile(rb"(1\.6\.\d{1,3})\0")),
    "libaom": (
        b"AOMedia Project AV1 Decoder ",
        re.compile(rb"AOMedia Project AV1 Decoder v?(\d[^\0]{0,40})\0"),
    ),
}
_WHEEL: Final = "pyvips-binary"
#: The folder into which that wheel puts its libraries.
_FOLDER: Final = "pyvips_binary.libs"
UNKNOWN: Final = "unknown"
#: Libraries that a photo's bytes may reach, and that say nothing themselves. libheif is named with its format, because
#: HEIC has another one (`worker.heif`). GIF's decoder is libvips' own.
_SILENT: Final = ("libheif (AVIF)", "libwebp", "lcms2", "libexif", "expat", "zlib-ng", "libultrahdr", "cgif")
#: Version of the wheel -> versions of the silent ones, by its build. (CONTRIBUTING.md says where they are documented.)
#: 8.18.7: versions.json of sharp-libvips 1.3.4, built from the same recipes for the same libvips. Every text of
#: the C libraries in both files is the same, but for the day of mozjpeg's build.
BUILDS: Final = {
    "8.18.7": {
        "libheif (AVIF)": "1.23.5",
        "libwebp": "1.6.0",
        "lcms2": "2.19.1",
        "libexif": "0.6.26",
        "expat": "2.8.5",
        "zlib-ng": "2.3.3",
        "libultrahdr": "2.0.2",
        "cgif": "0.5.4",
    },
}


def versions() -> dict[str, str]:
    """Return library -> version for those inside libvips; all are unknown where the loaded file cannot be read.

    Cost: 20 ms, and no memory that is kept.
    """
    try:
        loaded = _loaded()
        spoken = said(loaded) if loaded else {}
    except OSError:
        loaded, spoken = None, {}
    build = BUILDS.get(of_package(_WHEEL), {}) if loaded else {}
    documented = {name: f"{version} by its build" for name, version in build.items()}
    return dict.fromkeys((*_SAYS, *_SILENT), UNKNOWN) | documented | spoken


def of_package(name: str) -> str:
    """Return the version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return UNKNOWN


def _loaded() -> Path | None:
    """Return the libvips of the wheel that this process has loaded, None where it has another."""
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        path = line[line.find("/") :]
        if f"/{_FOLDER}/libvips" in path:
            return Path(path)
    return None


def said(file: Path) -> dict[str, str]:
    """Return what a library file says of its parts; one that says two versions of a part is not believed."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = {name: _texts(data, begins, whole) for name, (begins, whole) in _SAYS.items()}
    return {
        name: texts.pop().decode("ascii", "replace") if len(texts) == 1 else UNKNOWN
        for name, texts in found.items()
    }


def _texts(data: mmap.mmap, begins: bytes, whole: re.Pattern[bytes]) -> set[bytes]:
    found, at = set(), data.find(begins)
    while at >= 0:
        if match := whole.match(data, at):
            found.add(match[1])
        at = data.find(begins, at + 1)
    return found
