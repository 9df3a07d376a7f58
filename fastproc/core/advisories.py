"""Published holes of the decoder libraries: a version before the one that mends a hole is named at start.

Rule 1: a hole is a warning and no refusal: the jail is what holds an attacker, and a service that does not start mends
        nothing.
Rule 2: only what upstream has published with an identifier is in the table, with the place where it was read. A library
        without a row has no hole that was looked up; it is not known to have none.
Rule 3: the table is dated. Whoever renews it follows CONTRIBUTING.md, "Renew the table of published holes".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

#: The day of the newest row: what was published later is not in the table. (ISO 8601)
AS_OF: Final = "2026-09-22"
#: From this age on the table is said to be old: libheif had four releases with published holes in four weeks.
OLD_DAYS: Final = 90

#: What a version text has in front: `1.23.4`, and not the words behind it.
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)*")


class Advisory(Struct, frozen=True):
    """Holes that one release mends. `library` is a key of the versions that a worker reports, without its brackets."""

    library: str
    fixed_in: str
    identifiers: tuple[str, ...]
    about: str
    source: str


#: Newest first in each library.
ADVISORIES: Final = (
    Advisory(
        "libheif",
        "1.23.5",
        (
            "GHSA-v8qw-hwjv-44hw",
            "GHSA-qwpf-5wf7-r996",
            "GHSA-9c75-9g8r-4728",
            "GHSA-r7gr-2xm2-23wf",
            "GHSA-q492-cfcm-895h",
            "GHSA-qfj5-c4pq-q998",
            "GHSA-7pwf-qh74-p35w",
        ),
        "one is rated high",
        "getsolus/packages#10766, darktable-org/darktable#22359",
    ),
    Advisory(
        "libheif",
        "1.23.4",
        (
            "GHSA-vg7w-rp49-4fc2",
            "GHSA-xrp2-63fq-jm8q",
            "GHSA-prgh-72vc-3xmc",
            "GHSA-fqpw-fj22-78w4",
            "GHSA-4rv4-953r-p24q",
            "GHSA-rhgw-q5g8-xjh2",
        ),
        "three are rated high",
        "getsolus/packages#10543, discourse/discourse_docker#1127",
    ),
    Advisory(
        "libheif",
        "1.23.3",
        (
            "GHSA-x8r2-mggj-j6wr",
            "GHSA-8fmq-r4pf-7m57",
            "GHSA-w7mc-p8jc-p853",
            "GHSA-4jqm-2x34-6f6r",
            "GHSA-hh47-fhqr-cj2r",
            "GHSA-4h82-g446-83fm",
            "GHSA-9rj8-5mp5-26c9",
            "GHSA-gh5q-69gg-c964",
            "GHSA-8857-r8x5-7499",
        ),
        "one is rated critical",
        "getsolus/packages#10465, conan-io/conan-center-index#30895",
    ),
    Advisory(
        "libheif",
        "1.23.2",
        (
            "GHSA-g89c-p67h-r497",
            "GHSA-2jg2-4ch7-h545",
            "GHSA-24wx-9w62-c96w",
            "GHSA-x8xm-cm2c-cfc8",
            "GHSA-xw34-mjcp-jqh8",
            "GHSA-j264-xvrp-5v7q",
            "GHSA-p58j-h3vm-3fp5",
        ),
        "two are rated critical",
        "getsolus/packages#10371, conan-io/conan-center-index#30846",
    ),
    Advisory(
        "libheif",
        "1.23.1",
        (
            "CVE-2026-50142",
            "GHSA-jc8f-p23p-5hjg",
            "GHSA-73p7-m7gg-w2jv",
            "GHSA-xpw3-9rhw-482x",
            "GHSA-9ww4-9v47-m7pj",
            "GHSA-46rp-pcq2-rpmr",
        ),
        "",
        "getsolus/packages#9450",
    ),
    Advisory(
        "libde265",
        "1.1.2",
        ("GHSA-xp3h-6f5r-8cxp", "GHSA-mm7m-v26f-wf8x"),
        "",
        "getsolus/packages#10492",
    ),
    Advisory(
        "libde265",
        "1.1.1",
        ("GHSA-ccfw-29x7-rrx3", "GHSA-j2qq-x2xq-g9wr", "GHSA-653q-9f73-8hvg"),
        "writes beyond a buffer",
        "getsolus/packages#9323, jdeng/goheif#43",
    ),
    Advisory(
        "libvips",
        "8.18.1",
        ("CVE-2026-2913",),
        "a write beyond a buffer where a source is read to memory",
        "libvips/libvips#4857, msys2/MINGW-packages#31243",
    ),
    Advisory(
        "libpng",
        "1.6.57",
        ("CVE-2026-34757",),
        "",
        "gominimal/pkgs#88, jralls/gtk-osx-build#147",
    ),
    Advisory(
        "libpng",
        "1.6.56",
        ("CVE-2026-33416", "CVE-2026-33636"),
        "two are rated high",
        "getsolus/packages#8311, gominimal/pkgs#88",
    ),
    Advisory(
        "libwebp",
        "1.3.2",
        ("CVE-2023-4863",),
        "a write beyond a buffer in the lossless decoder, used in attacks",
        "webp-sh/webp_server_go#276",
    ),
    Advisory(
        "lcms2",
        "2.19",
        ("CVE-2026-41254",),
        "an integer overflow in a profile's table",
        "getsolus/packages#8659",
    ),
    Advisory(
        "libexif",
        "0.6.26",
        ("GHSA-p6wp-hhx9-7jj5", "GHSA-j9xr-5c85-xjhm", "GHSA-pq8m-942f-68cv"),
        "integer overflows in maker notes",
        "conan-io/conan-center-index#30393",
    ),
    Advisory(
        "expat",
        "2.8.4",
        ("CVE-2026-66046", "CVE-2026-76641", "CVE-2026-76956", "CVE-2026-76957"),
        "",
        "getsolus/packages#10438, spack/spack-packages#6292",
    ),
    Advisory(
        "libaom",
        "3.14.0",
        ("CVE-2026-56209",),
        "in the encoder",
        "microsoft/vcpkg#52884",
    ),
)


def warnings(versions: Mapping[str, str], table: Iterable[Advisory] = ADVISORIES) -> list[str]:
    """Return a line for each library whose version has holes in the table; a version that is unknown has none."""
    rows = tuple(table)
    found = [(name, version, _open(name, version, rows)) for name, version in versions.items()]
    return [_line(name, version, holes) for name, version, holes in found if holes]


def counted(versions: Mapping[str, str], table: Iterable[Advisory] = ADVISORIES) -> dict[str, int]:
    """Return for each library how many published holes its version has."""
    rows = tuple(table)
    return {
        name: sum(len(hole.identifiers) for hole in _open(name, version, rows))
        for name, version in versions.items()
    }


def _open(name: str, version: str, table: Iterable[Advisory]) -> list[Advisory]:
    library, numbers = name.partition(" ")[0], _numbers(version)
    return [row for row in table if row.library == library and numbers and numbers < _numbers(row.fixed_in)]


def _line(name: str, version: str, holes: list[Advisory]) -> str:
    """Say what to install, and the holes; the newest release mends them all."""
    newest = max(holes, key=lambda hole: _numbers(hole.fixed_in))
    words = [
        f"{', '.join(hole.identifiers)} (fixed in {hole.fixed_in}{f'; {hole.about}' if hole.about else ''})"
        for hole in holes
    ]
    return f"{name} {version} has published holes that {newest.fixed_in} mends: {'; '.join(words)}"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version for comparison, without zeros at the end; () where the text has none in front."""
    found = _NUMBERS.match(version)
    numbers = [int(number[:9]) for number in found.group().split(".")] if found else []
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
