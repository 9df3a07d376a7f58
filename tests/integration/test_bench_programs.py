"""Programs of bench/ that start a worker of their own: they end when it refuses the photo, and so does the worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import pictures

BENCH = Path(__file__).parents[2] / "bench"


def test_programs_end_when_their_worker_refuses_the_photo(tmp_path: Path) -> None:
    photo, answers = tmp_path / "photo.jpg", tmp_path / "answers"
    # Too narrow at any size that is tried.
    photo.write_bytes(pictures.jpeg(2000, 4))
    lines: list[list[object]] = [["stand_in.py", "record", answers, photo], ["sizing.py", photo]]
    # At the same time: most of it is the start of a worker.
    programs = [
        subprocess.Popen(
            [sys.executable, BENCH / str(name), *map(str, arguments)], stderr=subprocess.PIPE, text=True
        )
        for name, *arguments in lines
    ]
    try:
        told = [program.communicate(timeout=30)[1] for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.wait()
    assert [program.returncode for program in programs] == [1, 1]
    for text in told:
        [said] = text.splitlines()
        assert said.startswith("the worker refuses the photo: ")
