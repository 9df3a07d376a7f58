"""What must become of the files of the hostile corpus: by its list, and where the service differs from it on purpose.

`hostile.py` and the tests of the worker share it, so that neither knows a difference that the other does not.

Rule 1: an expectation is exact: a file that differs must end as DIFFERENT says, and no longer as the list does.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

#: The list's codes -> our codes. A side that is too short is E_DIMENSIONS as well.
CODES = {
    "E_FORMAT": {"UNSUPPORTED_FORMAT"},
    "E_UNSUPPORTED": {"UNSUPPORTED_FORMAT"},
    "E_CORRUPT": {"FILE_CORRUPTED"},
    "E_TRUNCATED": {"FILE_CORRUPTED"},
    "E_EMPTY": {"FILE_CORRUPTED"},
    "E_DIMENSIONS": {"IMAGE_TOO_LARGE", "IMAGE_TOO_SMALL"},
    "E_TOO_LARGE": {"SOURCE_TOO_LARGE"},
    "E_SCANS": {"IMAGE_TOO_COMPLEX"},
    "E_FRAMES": {"IMAGE_TOO_COMPLEX"},
    "E_METADATA": {"IMAGE_TOO_COMPLEX"},
}


class Difference(Struct, frozen=True):
    """The code of a file that does not end as its list says ("" = completed), and why that is right."""

    code: str
    why: str


class Verdict(Struct, frozen=True):
    """What must become of a file: one of the `wanted` codes ("" = completed); `why`, if these are not the list's."""

    listed: frozenset[str]
    wanted: frozenset[str]
    why: str = ""


def _each(code: str, why: str, *names: str) -> dict[str, Difference]:
    return dict.fromkeys(names, Difference(code, why))


_CORPUS = "libheif/fuzzing/data/corpus/"
_FUZZER = f"{_CORPUS}clusterfuzz-testcase-minimized-file-fuzzer-"
DIFFERENT = {
    **_each(
        "FILE_CORRUPTED",
        "a side of 0 is a false header, and no picture that is too small",
        *(f"gen/giant-{name}.jpg" for name in ("jpeg-0x480", "jpeg-640x0", "pjpeg-0x480", "pjpeg-640x0")),
        *(f"gen/giant-{name}.png" for name in ("png-0x10", "png-10x0")),
        "gen/poly-gif-js.gif",
        "pillow/zero_width.gif",
    ),
    # The list's generator allows either verdict for flipped bits. INTEGRITY=strict refuses what libjpeg forgives with a
    # warning that means missing pixels: grey, shifted or wrong blocks from the damaged place on.
    **_each(
        "FILE_CORRUPTED",
        "libjpeg: premature end of data segment",
        *(
            f"gen/flip-{name}.jpg"
            for name in (
                *("01-0-jpeg", "01-2-pjpeg", "01-3-pjpeg", "08-0-jpeg", "08-1-pjpeg", "08-2-jpeg"),
                *("08-3-jpeg", "64-0-jpeg", "64-1-jpeg", "64-2-jpeg", "hole-jpeg", "hole-pjpeg"),
            )
        ),
    ),
    **_each(
        "FILE_CORRUPTED",
        "libjpeg: bad Huffman code; its pixels are noise",
        "ljt-bugs/decompress/mozilla_1050342/jpeg-image-000.jpg",
        "ljt-bugs/decompress/mozilla_891693_CVE-2013-6629_CVE-2013-6630/turbo-dht.jpg",
    ),
    **_each(
        "FILE_CORRUPTED",
        "libjpeg: 1214 extraneous bytes before a restart marker; not its EXIF: its pixels are stripes",
        "pillow/hopper_bad_exif.jpg",
    ),
    **_each(
        "FILE_CORRUPTED",
        "libde265: blocks outside of the picture, which it conceals; what follows the flipped bits is noise",
        *(f"gen/flip-{name}-heic.heic" for name in ("01-0", "01-1", "64-0", "64-1", "64-2", "hole")),
    ),
    # An overlay (iovl), for which the list calls these unsupported, can be read. They are damaged all the same.
    **_each(
        "FILE_CORRUPTED",
        "the data of its tiles lies beyond the end of the file",
        f"{_CORPUS}github_48.heic",
        f"{_CORPUS}github_50.heic",
    ),
    **_each("FILE_CORRUPTED", "its overlay has no extent", f"{_CORPUS}region-mask-missing-refs.heic"),
    **_each(
        "FILE_CORRUPTED",
        "a meta box of version 32",
        f"{_FUZZER}4616081830051840.heic",
        f"{_FUZZER}5732616832024576.heic",
    ),
    **_each(
        "UNSUPPORTED_FORMAT",
        "a whole file, of a codec that libheif was built without",
        f"{_CORPUS}jpeg32.heif",
    ),
    **_each(
        "",
        "its first frame is a good still picture, as in every other animation",
        "gen/anim-avif-40.avif",
    ),
    **_each(
        "",
        "scan headers after the only scan that is read; motion photos have them",
        "gen/meta-jpeg-sos-2000-empty.jpg",
    ),
    **_each(
        "IMAGE_TOO_LARGE",
        "also over the pixel limit, which is checked first",
        "gen/bomb-scan-16384x16384-2000.jpg",
    ),
    **_each(
        "",
        "a legal file with a keyword in Latin-1, which breaks readers that list all fields",
        "image-rs/images/png/bugfixes/issue#2026.png",
        "wuffs/artificial-png/key-value-pairs.png",
    ),
}


def listed(expected: str) -> frozenset[str]:
    """Return the codes of what the list expects: `accept`, or `reject` with codes of its own."""
    if expected == "accept":
        return frozenset({""})
    return frozenset().union(*(CODES[reason] for reason in expected.removeprefix("reject ").split("|")))


def verdict(name: str, expected: str) -> Verdict:
    """Return what must become of the file of that name, of which the list expects that."""
    codes, different = listed(expected), DIFFERENT.get(name)
    return Verdict(codes, frozenset({different.code}), different.why) if different else Verdict(codes, codes)


def verdicts(folder: Path) -> dict[str, Verdict]:
    """Return the verdict for each file of the folder's list, `expected.tsv`: lines of a path and what it expects."""
    lines = (folder / "expected.tsv").read_text().splitlines()
    return {name: verdict(name, expected) for name, expected in (line.split("\t") for line in lines)}
