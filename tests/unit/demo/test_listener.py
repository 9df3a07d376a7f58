"""What the tour makes of the service's events: progress while a photo is in flight, and its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastproc.core import naming
from fastproc.demo.listener import Listener
from fastproc.demo.photo import Photo


class View:
    """Notes what is shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[object, ...]] = []

    def started(self, name: str) -> None:
        self.shown.append(("started", name))

    def stage(self, name: str, percent: float) -> None:
        self.shown.append(("stage", name, percent))

    def finished(self, name: str, ok: bool, *, meant: bool = False) -> None:
        self.shown.append(("finished", name, ok))


@pytest.fixture
def photos() -> list[Photo]:
    return [Photo(id="a", file=Path("x/a.jpg")), Photo(id="b", file=Path("x/b.jpg"))]


def event(type_: str, photo_id: str, **data: Any) -> dict[str, Any]:
    return {"type": type_, "data": {"photoId": photo_id, **data}}


def test_a_photo_is_shown_from_its_start_to_its_end(photos: list[Photo]) -> None:
    listener = Listener(photos, view := View())
    for each in (
        event(naming.STARTED, "a"),
        event(naming.PROGRESS, "a", progress=35),
        event(naming.COMPLETED, "a", thumbnails=[]),
    ):
        listener.receive(each)
    assert view.shown == [("started", "a.jpg"), ("stage", "a.jpg", 35), ("finished", "a.jpg", True)]
    assert photos[0].reported == {"photoId": "a", "thumbnails": []}
    assert photos[0].seconds >= 0


def test_an_attempt_that_will_be_retried_does_not_end_its_photo(photos: list[Photo]) -> None:
    listener = Listener(photos[:1], view := View())
    listener.receive(event(naming.FAILED, "a", error={"code": "X", "willRetry": True}))
    assert (view.shown, photos[0].reported, listener.all_ended.is_set()) == ([], {}, False)
    listener.receive(event(naming.FAILED, "a", error={"code": "X", "willRetry": False}))
    assert view.shown == [("finished", "a.jpg", False)]
    assert listener.all_ended.is_set()


def test_the_run_is_over_when_every_photo_has_ended_however_often_it_is_reported(photos: list[Photo]) -> None:
    listener = Listener(photos, View())
    for _ in range(2):
        listener.receive(event(naming.COMPLETED, "a"))
    assert not listener.all_ended.is_set()
    listener.receive(event(naming.COMPLETED, "b"))
    assert listener.all_ended.is_set()


def test_a_failure_is_meant_only_where_it_has_the_code_that_was_wanted(photos: list[Photo]) -> None:
    photo = Photo(id="a", file=Path("a.jpg"), fails="FILE_CORRUPTED")
    assert not photo.is_meant
    photo.reported = {"error": {"code": "WORKER_CRASHED"}}
    assert not photo.is_meant
    photo.reported = {"error": {"code": "FILE_CORRUPTED"}}
    assert photo.is_meant
    photos[0].reported = photo.reported
    assert not photos[0].is_meant


def test_the_keys_of_a_photos_results_are_its_thumbnails_and_its_copy(photos: list[Photo]) -> None:
    photo = photos[0]
    assert (photo.key, photo.result_keys) == ("photos/a.jpg", [])
    photo.reported = {"thumbnails": [{"s3Key": "t/1"}, {"s3Key": "t/2"}], "optimization": {"s3Key": "o"}}
    assert photo.result_keys == ["t/1", "t/2", "o"]
    photo.reported = {"thumbnails": [], "optimization": None}
    assert photo.result_keys == []
