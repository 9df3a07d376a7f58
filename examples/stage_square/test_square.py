"""The stage through fastproc's own pipeline, in this process and without servers."""

import io

import fastproc_stage_square as stage
from PIL import Image

from fastproc.core.model import Options
from fastproc.worker.trial import tried


def photo(width, height):
    """Return a white photo with a red middle, as the bytes of a JPEG."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste("red", (width // 3, 0, width * 2 // 3, height))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    return file.getvalue()


def test_it_cuts_the_middle():
    found = tried(stage, photo(1500, 1000))
    assert found.facts[stage.NAME] == {"side": 320, "kept": 0.667}
    with Image.open(io.BytesIO(found.files["square"])) as square:
        assert square.size == (320, 320)
        assert square.convert("RGB").getpixel((160, 160))[1] < 60


def test_its_side_can_be_set_and_a_small_photo_is_not_enlarged():
    assert tried(stage, photo(1500, 1000), settings={"side_px": "100"}).facts[stage.NAME]["side"] == 100
    assert tried(stage, photo(160, 120)).facts[stage.NAME]["side"] == 120


def test_it_follows_the_service_s_options():
    webp = tried(stage, photo(600, 400), options=Options(thumbnail_format="webp"))
    with Image.open(io.BytesIO(webp.files["square"])) as square:
        assert square.format == "WEBP"


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name)
