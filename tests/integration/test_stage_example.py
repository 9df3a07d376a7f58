"""The worked example of docs/stages.md, installed by pip: its own tests, a worker, a service, its settings."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from fastproc.core import naming
from fastproc.core.model import Rendition
from fastproc.terminal.exits import Exit
from tests import pictures, plugins
from tests.integration.service import PATIENCE_S, Place, Service

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "stage_square"

#: Stages that are wrong, by their entry point's name: what a service must say of each before it starts.
BROKEN = {
    "renamed": "NAME = 'other'\ndef run(work): ...",
    "idle": "NAME = 'idle'",
    "phash": "NAME = 'phash'\ndef run(work): ...",
    "unfit": "import no_such_library\nNAME = 'unfit'",
    "dying": "import os\nos._exit(3)",
    "curious": "import os\nraise RuntimeError(' '.join(sorted(os.environ)))",
    "open_ended": "from msgspec import Struct\nNAME = 'open_ended'\n"
    "class Settings(Struct, frozen=True):\n    side: int\ndef run(work): ...",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for packages, in which the example is installed by pip, and the broken stages as pip leaves packages."""
    folder = tmp_path_factory.mktemp("example")
    source, packages = folder / "stage_square", folder / "site"
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--no-deps", "--target", str(packages), str(source)],
        check=True,
        timeout=PATIENCE_S,
    )
    for name, text in BROKEN.items():
        plugins.left(packages, name, f"broken_{name}", text + "\n")
    return packages


@pytest.fixture(scope="module")
def python(site: Path) -> str:
    """An interpreter that has all that this one has, and those packages."""
    return plugins.interpreter(site.parent / "venv", site)


def fastproc(
    python: str, pipeline: str, folder: Path, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "fastproc", *arguments],
        env={"PIPELINE": pipeline, "WORKER_CONCURRENCY": "1", "COLUMNS": "200", **more},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def process(
    python: str, pipeline: str, out: Path, *photos: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    return fastproc(
        python, pipeline, out.parent, "process", *map(str, photos), "--out", str(out), "--json", **more
    )


SQUARE = "validation,metadata,thumbnails,square"


def own_tests(folder: Path, *command: str) -> str:
    """Run the example's own tests, all of which must pass; return what was printed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok test_") == (EXAMPLE / "test_square.py").read_text().count("\ndef test_")
    return done.stdout


def test_the_example_s_own_tests_pass_where_it_is_installed(python: str, tmp_path: Path) -> None:
    own_tests(tmp_path, python, str(EXAMPLE / "test_square.py"))


def test_a_copy_that_is_renamed_as_its_readme_says_passes_its_own_tests(python: str, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "examples" / "stage_square")
    commands = (EXAMPLE / "README.md").read_text().partition("```sh\n")[2].partition("```")[0]
    said = own_tests(tmp_path, "sh", "-euc", f"{commands}\n'{python}' test_faces.py; cat pyproject.toml")
    assert 'faces = "acme_stage_faces"' in said


def test_the_example_makes_a_square_and_says_what_it_kept(python: str, tmp_path: Path) -> None:
    wide, small = tmp_path / "wide.jpg", tmp_path / "small.png"
    picture = Image.new("RGB", (1500, 1000), "white")
    picture.paste("red", (500, 0, 1000, 1000))
    picture.save(wide)
    Image.new("RGB", (160, 120), "blue").save(small)
    done = process(python, SQUARE, tmp_path / "out", wide, small)
    assert done.returncode == Exit.OK, done.stderr
    told = {found["photoId"]: found for found in map(json.loads, done.stdout.splitlines())}
    facts = {photo: found["metadata"]["square"] for photo, found in told.items()}
    assert facts == {"wide": {"side": 320, "kept": 0.667}, "small": {"side": 120, "kept": 0.75}}
    [listed] = told["wide"]["renditions"]
    assert (listed["stage"], listed["width"], listed["s3Key"]) == ("square", 320, "wide_square.jpg")
    with Image.open(tmp_path / "out" / "wide_square.jpg") as square:
        assert square.size == (320, 320)
        # The middle third of the photo is the middle half of the square.
        red, _, blue = square.convert("RGB").getpixel((160, 160))
        assert (red > 200, blue < 60) == (True, True)
        assert min(square.convert("RGB").getpixel((10, 160))) > 240
    with Image.open(tmp_path / "out" / "small_square.jpg") as square:
        assert square.size == (120, 120)


@pytest.fixture
def service(place: Place, tmp_path: Path, python: str) -> Iterator[Service]:
    settings = {"PIPELINE": SQUARE, "STAGE_SQUARE_SIDE_PX": "64", "UPLOAD_KEY_TEMPLATE": ""}
    running = Service(place, tmp_path, settings, python)
    running.wait_ready()
    yield running
    running.close()


def test_in_service_its_rendition_is_found_in_return_value_row_and_event(
    place: Place, service: Service
) -> None:
    place.put("one.jpg", pictures.jpeg(300, 200))
    place.listen()
    job_id = asyncio.run(place.add({"photoId": "p-1", "s3Key": "one.jpg"}, timestamp=1700000000000))
    place.until("completed", job_id)
    [listed] = json.loads(place.job(job_id)["returnvalue"])["renditions"]
    assert listed["s3Key"] == "photos/square/p-1/square_1700000000000.jpg"
    assert (listed["stage"], listed["name"], listed["contentType"]) == ("square", "square", "image/jpeg")
    assert (listed["width"], listed["height"]) == (64, 64)
    stored = place.s3_client.get_object(Bucket=place.s3.bucket, Key=listed["s3Key"])
    assert len(stored["Body"].read()) == listed["fileSize"]
    assert listed["url"].endswith(f"/{place.s3.bucket}/{listed['s3Key']}")
    assert json.loads(place.row("p-1")["processing_metadata"])["renditions"] == [listed]
    completed = next(event for event in place.heard("p-1") if event["type"] == naming.COMPLETED)
    assert completed["data"]["renditions"] == [listed]


def test_its_rendition_has_the_key_that_the_document_names() -> None:
    rendition = Rendition(stage="square", name="square", width=320, height=320, offset=0, size=1)
    key = naming.object_key(rendition, "p-42", 1700000000000)
    assert key == "photos/square/p-42/square_1700000000000.jpg"
    assert f"`{key.replace('p-42', '{photoId}').replace('1700000000000', '{timestamp}')}`" in (
        (ROOT / "docs" / "stages.md").read_text()
    )


# --- what is wrong with a stage, or with what is set for it, is said before the service starts


def test_a_stage_that_is_not_installed_is_an_error_at_the_start(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (160, 120)).save(photo)
    done = process(sys.executable, "validation,square", tmp_path / "out", photo)
    assert done.returncode == Exit.CONFIG
    assert "PIPELINE: there is no stage 'square'" in done.stderr


def test_wrong_settings_of_a_stage_are_all_said_at_once(python: str, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (160, 120)).save(photo)
    wrong = {
        "STAGE_SQUARE_SIDE_PX": "5",
        "STAGE_SQUARE_QUALITY": "good",
        "STAGE_SQUARE_QUALTY": "80",
    }
    done = process(python, SQUARE, tmp_path / "out", photo, **wrong)
    assert done.returncode == Exit.CONFIG
    said = done.stderr
    assert "STAGE_SQUARE_SIDE_PX: expected int >= 16 (it is '5')" in said
    assert "STAGE_SQUARE_QUALITY: expected int" in said
    assert "STAGE_SQUARE_QUALTY: stage 'square' has no such setting; is STAGE_SQUARE_QUALITY meant?" in said
    assert "Traceback" not in said


def test_check_shows_a_stage_s_settings(python: str, tmp_path: Path) -> None:
    away = {"REDIS_PORT": "1", "MINIO_PORT": "1", "SQLITE_PATH": "none.db"}
    said = fastproc(
        python, SQUARE, tmp_path, "check", STAGE_SQUARE_SIDE_PX="200", STAGE_SQARE_QUALITY="5", **away
    ).stdout
    [row] = [line for line in said.splitlines() if "STAGE_SQUARE_SIDE_PX" in line]
    assert all(word in row for word in ("200", "320"))
    assert "side of the square" in said
    assert "STAGE_SQUARE_QUALITY" in said
    words = "WARN STAGE_SQARE_QUALITY: no stage of PIPELINE has that name; did you mean STAGE_SQUARE_QUALITY?"
    assert words in said


@pytest.mark.parametrize(
    ("stage", "words"),
    {
        "renamed": "its NAME is 'other', its entry point's name is 'renamed'",
        "idle": "stage 'idle' has no function run(work)",
        "phash": "fastproc and broken_phash each have a stage 'phash': rename or remove one",
        "unfit": "stage 'unfit' cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'",
        "dying": "stage 'dying' cannot be loaded: its process ended with 3",
        "open_ended": "stage 'open_ended': its setting side has no default",
    }.items(),
    ids=lambda value: value if value in BROKEN else "",
)
def test_a_broken_stage_is_named_before_the_service_starts(
    python: str, tmp_path: Path, stage: str, words: str
) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (160, 120)).save(photo)
    done = process(python, f"validation,{stage}", tmp_path / "out", photo)
    assert done.returncode == Exit.CONFIG
    assert words in done.stderr
    assert "fastproc: PIPELINE: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_never_sees_the_service_s_environment(python: str, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (160, 120)).save(photo)
    done = process(python, "validation,curious", tmp_path / "out", photo, MINIO_SECRET_KEY="swordfish")
    [seen] = [line for line in done.stderr.splitlines() if "stage 'curious' cannot be loaded" in line]
    names = set(seen.partition("RuntimeError: ")[2].split())
    assert "LC_ALL" in names
    assert not names & {"MINIO_SECRET_KEY", "PIPELINE", "WORKER_CONCURRENCY"}
