"""The worked example of docs/stages.md through a real worker: installed by its own declaration, named in PIPELINE."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from PIL import Image

from fastproc.core import naming
from fastproc.core.model import Rendition
from fastproc.terminal.exits import Exit
from tests.integration.service import PATIENCE_S

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "stage_square"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has all that this one has, and the example as an installer would leave it there."""
    folder = tmp_path_factory.mktemp("example")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    about = folder / "site" / "fastproc_stage_square-1.0.0.dist-info"
    about.mkdir(parents=True)
    name, version = project["project"]["name"], project["project"]["version"]
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = project["project"]["entry-points"]["fastproc.stages"]
    lines = [f"{stage} = {module}" for stage, module in points.items()]
    (about / "entry_points.txt").write_text("\n".join(["[fastproc.stages]", *lines, ""]))
    for module in project["tool"]["setuptools"]["py-modules"]:
        (folder / "site" / f"{module}.py").write_text((EXAMPLE / f"{module}.py").read_text())
    venv.EnvBuilder(symlinks=True).create(folder / "venv")
    [packages] = (folder / "venv").glob("lib/python3*/site-packages")
    # A worker ignores PYTHONPATH: what it may import must be installed, or lie beside what is.
    paths = [str(folder / "site"), str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    (packages / "everything.pth").write_text("\n".join(paths) + "\n")
    return str(folder / "venv" / "bin" / "python")


def process(python: str, pipeline: str, out: Path, *photos: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "fastproc", "process", *map(str, photos), "--out", str(out), "--json"],
        env={"PIPELINE": pipeline, "WORKER_CONCURRENCY": "1"},
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_example_makes_a_square_and_says_what_it_kept(python: str, tmp_path: Path) -> None:
    wide, small = tmp_path / "wide.jpg", tmp_path / "small.png"
    picture = Image.new("RGB", (1500, 1000), "white")
    picture.paste("red", (500, 0, 1000, 1000))
    picture.save(wide)
    Image.new("RGB", (160, 120), "blue").save(small)
    done = process(python, "validation,metadata,thumbnails,square", tmp_path / "out", wide, small)
    assert done.returncode == Exit.OK, done.stderr
    facts = {
        found["photoId"]: found["metadata"]["square"] for found in map(json.loads, done.stdout.splitlines())
    }
    assert facts == {"wide": {"side": 320, "kept": 0.667}, "small": {"side": 120, "kept": 0.75}}
    with Image.open(tmp_path / "out" / "wide_square.jpg") as square:
        assert square.size == (320, 320)
        # The middle third of the photo is the middle half of the square.
        red, _, blue = square.convert("RGB").getpixel((160, 160))
        assert (red > 200, blue < 60) == (True, True)
        assert min(square.convert("RGB").getpixel((10, 160))) > 240
    with Image.open(tmp_path / "out" / "small_square.jpg") as square:
        assert square.size == (120, 120)


def test_its_rendition_has_the_key_that_the_document_names() -> None:
    rendition = Rendition(stage="square", name="square", width=320, height=320, offset=0, size=1)
    key = naming.object_key(rendition, "p-42", 1700000000000)
    assert key == "photos/square/p-42/square_1700000000000.jpg"
    assert f"`{key.replace('p-42', '{photoId}').replace('1700000000000', '{timestamp}')}`" in (
        (ROOT / "docs" / "stages.md").read_text()
    )


def test_a_stage_that_is_not_installed_is_an_error_at_the_start(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (160, 120)).save(photo)
    done = process(sys.executable, "validation,square", tmp_path / "out", photo)
    assert done.returncode == Exit.CONFIG
    assert "PIPELINE: there is no stage 'square'" in done.stderr
