"""What bench/compare.py says of its runs: ratios by round, spreads, targets; and what it takes for equal outputs."""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from tests import pictures

# At the end: the folder has a queue.py, which stands for a program there.
sys.path.append(str(Path(__file__).parents[2] / "bench"))

import compare_table
from compare_equal import Outcome, differences
from compare_table import Run, Spread


def run(system: str, round_: int, rate: float, **more: Any) -> Run:
    """One run of a system; its PSS is 100 MB for fastproc and 400 for others."""
    values = {"photos": "mix", "concurrency": 2, "jobs": 8, "cpu_ms_per_job": 1000 / rate}
    values |= {"servers_cpu_ms_per_job": 20.0, "pss_mb": 100.0 if system == "fastproc" else 400.0}
    return Run(system=system, round=round_, jobs_per_s=rate, **(values | more))


#: A machine that becomes slower: within a round both suffer alike.
SLOWING = [
    run("fastproc", 1, 40.0), run("reference", 1, 4.0), run("fastproc", 2, 24.0), run("reference", 2, 2.0),
    run("reference", 3, 1.0), run("fastproc", 3, 9.0),
]  # fmt: skip


def test_a_ratio_is_taken_within_a_round_and_shown_with_its_spread() -> None:
    found = compare_table.ratios(SLOWING, "jobs_per_s", "fastproc", "reference")
    assert found == Spread(10.0, 9.0, 12.0)
    assert str(found) == "10.0 (9.00..12.0)"


def test_a_round_that_lacks_one_of_the_two_counts_not() -> None:
    runs = [*SLOWING, run("fastproc", 4, 1000.0)]
    assert compare_table.ratios(runs, "jobs_per_s", "fastproc", "reference").most == 12.0


def test_the_table_has_a_line_for_each_system_with_medians_and_ratios() -> None:
    titles = {"fastproc": "ours", "reference": "theirs", "absent": "not there"}
    _, _, own, peer, _, servers = compare_table.table(SLOWING, titles, "fastproc")
    assert own == "| ours | 2 | 24.0 (9.00..40.0) | 41.7 (25.0..111) | 100 (100..100) |  |  |  |"
    ratios = "10.0 (9.00..12.0) | 0.10 (0.08..0.11) | 0.25 (0.25..0.25)"
    assert peer == f"| theirs | 2 | 2.00 (1.00..4.00) | 500 (250..1000) | 400 (400..400) | {ratios} |"
    assert servers.startswith("Redis and S3 took 20.0 ")


@pytest.mark.parametrize(
    ("rate", "pss", "wanted"),
    [(40.0, 190.0, ["met", "met"]), (39.0, 210.0, ["MISSED", "MISSED"])],
    ids=["met", "missed"],
)
def test_a_target_that_is_missed_says_so(rate: float, pss: float, wanted: list[str]) -> None:
    runs = [run("fastproc", 1, rate, pss_mb=pss), run("reference", 1, 4.0)]
    assert [line.rpartition(": ")[2] for line in compare_table.verdicts(runs, "fastproc")] == wanted


def test_a_bar_is_as_long_as_its_rate() -> None:
    drawn = compare_table.plot(SLOWING, {"fastproc": "ours", "reference": "theirs"})
    lengths = [
        float(part.split('"')[1]) for part in drawn.split("<rect")[2:] for part in [part.split("width=")[1]]
    ]
    assert lengths[0] == pytest.approx(12 * lengths[1], rel=0.01)


def outcome() -> Outcome:
    """What a photo of two thumbnails leaves."""
    metadata = dict.fromkeys(("space", "channels", "depth", "density", "hasAlpha", "isProgressive"))
    metadata |= {
        "format": "jpeg",
        "width": 300,
        "height": 200,
        "orientation": None,
        "chromaSubsampling": None,
    }
    metadata |= {"dominantColor": {"r": 10, "g": 20, "b": 30}, "brightness": 0.5, "exif": {"make": "A"}}
    thumbnail = {"name": "thumb_sm", "width": 150, "height": 100}
    return Outcome(
        files={"thumb_sm": pictures.jpeg(150, 100, quality=80)},
        user_metadata={"thumb_sm": {"size": "thumb_sm"}},
        row={"processing_status": "completed", "processing_error": None, "width": 300, "height": 200,
             "processing_metadata": {"metadata": metadata}},
        value={"thumbnailCount": 1, "thumbnails": [thumbnail], "optimization": {"optimized": False},
               "metadata": metadata},
        events=["started", "completed"],
    )  # fmt: skip


def turned(found: Outcome) -> None:
    with Image.open(io.BytesIO(found.files["thumb_sm"])) as picture:
        found.files["thumb_sm"] = pictures.encoded(picture.rotate(180), "JPEG", quality=80)


def smaller(found: Outcome) -> None:
    found.files["thumb_sm"] = pictures.jpeg(150, 98, quality=80)


def another_quality(found: Outcome) -> None:
    found.files["thumb_sm"] = pictures.jpeg(150, 100, quality=99)


def darker(found: Outcome) -> None:
    found.value["metadata"]["brightness"] = 0.45


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found.files.update(more=b""), "objects ['more', 'thumb_sm']"),
        (turned, "pixels differ"),
        (smaller, "JPEG (150, 98)"),
        (another_quality, "bytes beside"),
        (lambda found: found.user_metadata["thumb_sm"].clear(), "user metadata []"),
        (lambda found: found.row.update(processing_status="failed"), "processing_status failed"),
        (lambda found: found.row.update(height=150), "height 150"),
        (lambda found: found.row.update(more=1), "row: fields"),
        (lambda found: found.value.update(more=1), "value: fields"),
        (lambda found: found.value["thumbnails"][0].update(more=1), "value: thumbnails: fields"),
        (lambda found: found.row["processing_metadata"].update(more=1), "processing_metadata: fields"),
        (lambda found: found.value.update(thumbnailCount=2), "2 thumbnails"),
        (
            lambda found: found.value.pop("optimization") and found.value.update(optimization={}),
            "optimization",
        ),
        (lambda found: found.value["metadata"].update(orientation=6), "orientation 6"),
        (darker, "brightness 0.45"),
        (
            lambda found: found.value["metadata"].update(dominantColor={"r": 60, "g": 20, "b": 30}),
            "dominantColor",
        ),
        (lambda found: found.value["metadata"].update(exif=None), "exif make None"),
        (lambda found: found.events.reverse(), "events ['completed', 'started']"),
    ],
)
def test_outputs_that_differ_are_no_equals(change: Callable[[Outcome], object], words: str) -> None:
    one, other = outcome(), copy.deepcopy(outcome())
    change(other)
    assert any(words in found for found in differences(one, other)), differences(one, other)


def test_a_pixel_of_the_shorter_side_and_the_noise_of_coding_are_equal() -> None:
    one = outcome()
    other = msgspec.structs.replace(one, files={"thumb_sm": pictures.jpeg(150, 99, quality=75)})
    assert differences(one, one) == []
    assert differences(one, other) == []
