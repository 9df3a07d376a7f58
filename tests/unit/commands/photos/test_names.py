"""What `process` calls the files of its results."""

from __future__ import annotations

from fastproc.commands.process import _named
from fastproc.core.model import Rendition, Report
from fastproc.supervisor.workers.task import Result


def rendition(stage: str, name: str, content_type: str = "image/jpeg") -> Rendition:
    return Rendition(stage=stage, name=name, width=9, height=9, offset=0, size=1, content_type=content_type)


def test_two_stages_may_give_their_renditions_one_name() -> None:
    made = (
        rendition("thumbnails", "small"),
        rendition("faces", "small"),
        rendition("pets", "small"),
        rendition("faces", "small", "image/png"),
        rendition("thumbnails", "cats_small"),
        rendition("cats", "small"),
    )
    report = Report(width=9, height=9, format="jpeg", facts={}, renditions=made)
    assert _named(Result(report, (b"1", b"2", b"3", b"4", b"5", b"6")), "p") == [
        ("p_small.jpg", b"1"),
        ("p_faces_small.jpg", b"2"),
        ("p_pets_small.jpg", b"3"),
        ("p_small.png", b"4"),
        ("p_cats_small.jpg", b"5"),
        ("p_cats_cats_small.jpg", b"6"),
    ]
