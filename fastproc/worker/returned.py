"""Checks the pictures that a stage returns before they leave the worker: a mistake is told in the stage's own words.

Rule 1: it fails the photo as PROCESSING_ERROR, with stage and picture named: the supervisor, which cannot tell a
        mistake from an attack, would kill the worker for the same.
Rule 2: no pixel is decoded: a file's first bytes tell its format, its header its sides.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from fastproc.core.errors import ImageError, ProcessingError
from fastproc.core.gate.judge import format_of, glance
from fastproc.core.model import Limits
from fastproc.core.picture_rules import FORMATS, MAX_RENDITIONS, problem
from fastproc.worker.stage import Encoded, StageResult

#: Of renditions nothing but the sides is of interest here.
_LIMITS = Limits(formats=tuple(FORMATS.values()))
#: The gate has a name of its own for a HEIF file of each codec.
_HEIF = ("avif", "heic")


def checked(result: object, already: int) -> StageResult:
    """Return a stage's result; `already`: renditions of the stages before. Raises ProcessingError for a wrong one."""
    if not isinstance(result, StageResult):
        raise ProcessingError(f"the stage returned {_kind(result)}, not a StageResult")
    if not isinstance(result.renditions, tuple | list):
        raise ProcessingError(f"its renditions are {_kind(result.renditions)}, not a tuple of Encoded")
    _check_names(result.renditions)
    if already + len(result.renditions) > MAX_RENDITIONS:
        raise ProcessingError(f"{already + len(result.renditions)} renditions, {MAX_RENDITIONS} are allowed")
    for encoded in result.renditions:
        if wrong := _wrong(encoded):
            raise ProcessingError(f"its picture {encoded.name!r}: {wrong}")
    return result


def _check_names(renditions: Iterable[object]) -> None:
    names: set[str] = set()
    for encoded in renditions:
        if not isinstance(encoded, Encoded):
            raise ProcessingError(f"its renditions have {_kind(encoded)} among them, not Encoded alone")
        if not isinstance(encoded.name, str):
            raise ProcessingError(f"a picture's name is {_kind(encoded.name)}, not a text")
        if encoded.name in names:
            raise ProcessingError(f"two of its pictures are called {encoded.name!r}")
        names.add(encoded.name)


def _wrong(encoded: Encoded) -> str:
    """Return what is wrong with a picture, "" where nothing is."""
    sides = (encoded.width, encoded.height)
    if not all(type(side) is int for side in sides):
        return f"its sides are {_kind(sides[0])} and {_kind(sides[1])}, not whole numbers"
    if not isinstance(encoded.data, bytes | bytearray | memoryview):
        return f"its data are {_kind(encoded.data)}, not the bytes of a file"
    if not len(encoded.data):
        return "it has no bytes"
    if wrong := problem(encoded.name, *sides, str(encoded.content_type)):
        return wrong
    return _unlike_its_file(memoryview(encoded.data), FORMATS[encoded.content_type], sides)


def _unlike_its_file(data: memoryview, said: str, sides: tuple[int, int]) -> str:
    found = format_of(data)
    if found != said and not (found in _HEIF and said in _HEIF):
        return f"it is said to be {said}, its bytes are {found or 'no picture'}"
    try:
        header = glance(data, _LIMITS)
    except (ImageError, IndexError, struct.error):
        return f"its {said} header cannot be read"
    if (header.width, header.height) != sides:
        return f"it is said to have {sides[0]} x {sides[1]} pixels, its file has {header.width} x {header.height}"
    return ""


def _kind(value: object) -> str:
    return type(value).__name__
