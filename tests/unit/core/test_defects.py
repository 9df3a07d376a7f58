"""What is kept of an exception that nobody expected, and when it is told."""

from __future__ import annotations

import pytest

from fastproc.core.defects import (
    AGAIN_S,
    MAX_DEFECTS,
    MAX_FRAMES,
    MAX_NAME_CHARS,
    NAME,
    REPORTS,
    REPORTS_S,
    Defect,
    Frame,
    Telling,
    defect,
)


class OddError(Exception):
    """Of this module."""


def raised(error: Exception, depth: int = 0) -> Defect:
    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise error

    with pytest.raises(type(error)) as caught:
        deeper(depth)
    return defect(caught.value, "thumbnails")


def one(number: int) -> Defect:
    return Defect("ValueError", (Frame("m", "f", number),))


def test_it_has_the_class_and_the_places_and_nothing_of_the_message() -> None:
    found = raised(OddError("a signed URL"))
    assert found.kind == f"{__name__}.OddError"
    assert found.stage == "thumbnails"
    assert found.place.startswith(f"{__name__}:raised.<locals>.deeper:")
    assert "signed" not in repr(found)
    assert found.text().splitlines()[0] == "Traceback (most recent call last):"
    assert found.text().splitlines()[-1] == found.kind
    assert raised(ValueError("x")).kind == "ValueError"


def test_a_recursion_without_end_is_as_long_as_any_other() -> None:
    found = raised(ValueError(), depth=200)
    assert len(found.frames) == MAX_FRAMES
    assert found.frames[0].function == "raised"
    assert found.frames[-1].function == "raised.<locals>.deeper"


def test_every_name_is_one_that_the_supervisor_takes() -> None:
    odd = type("A B\n" + "x" * 500, (Exception,), {})
    found = raised(odd())
    names = [found.kind, *(name for frame in found.frames for name in (frame.module, frame.function))]
    assert all(NAME.fullmatch(name) and len(name) <= MAX_NAME_CHARS for name in names)


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert defect(ValueError()) == Defect("ValueError")
    assert Defect("ValueError").place == ""


def test_a_defect_is_told_once_and_then_with_its_count() -> None:
    telling = Telling(0.0)
    assert [telling.seen(one(1), at) for at in (0.0, 1.0, 2.0)] == [1, 0, 0]
    assert telling.seen(one(2), 3.0) == 1
    assert telling.seen(one(1), AGAIN_S) == 3
    assert telling.seen(one(1), AGAIN_S + 1.0) == 0


def test_all_together_are_told_no_faster_than_the_bucket_allows() -> None:
    telling = Telling(0.0)
    assert sum(telling.seen(one(number), 0.0) for number in range(50)) == REPORTS
    # What was not told is not forgotten.
    assert telling.seen(one(49), REPORTS_S) == 2


def test_the_number_of_defects_that_are_remembered_is_bounded() -> None:
    telling = Telling(0.0)
    for number in range(10 * MAX_DEFECTS):
        telling.seen(one(number), 0.0)
    assert len(telling._seen) == MAX_DEFECTS
