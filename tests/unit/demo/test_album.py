"""The pictures that are kept for the next tour: painted once, again where one is wrong, and not without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastproc.demo import album, pictures

SMALL = tuple(
    pictures.Shot(name=f"{n}.jpg", paint=shot.paint, width=64, height=48, seed=n)
    for n, shot in enumerate(pictures.SHOTS[:2])
)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pictures, "SHOTS", SMALL)
    found = album.folder()
    assert found is not None
    assert found.parent == tmp_path / "fastproc"
    return found


def painted(kept: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fill the album; return what had to be painted."""
    done: list[str] = []
    write = pictures.write
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "write", lambda shot, path: (done.append(shot.name), write(shot, path)))
        said: list[str] = []
        paths = album.filled(kept, lambda: said.append("painting"))
    assert said == ["painting"] * bool(done)
    assert paths == [kept / shot.name for shot in SMALL]
    return done


def test_pictures_are_painted_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert painted(kept, monkeypatch) == ["0.jpg", "1.jpg"]
    before = {path: path.read_bytes() for path in kept.iterdir()}
    assert painted(kept, monkeypatch) == []
    assert {path: path.read_bytes() for path in kept.iterdir()} == before


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "unnoted"])
def test_a_picture_that_is_not_as_it_was_is_painted_again(
    harm: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted(kept, monkeypatch)
    path, whole = kept / "1.jpg", (kept / "1.jpg").read_bytes()
    match harm:
        case "cut":
            path.write_bytes(whole[:-1])
        case "changed":
            path.write_bytes(whole[:-9] + b"?" + whole[-8:])
        case "gone":
            path.unlink()
        case _:
            (kept / "sums.json").write_text('{"0.jpg": ')
    assert painted(kept, monkeypatch) == (["0.jpg", "1.jpg"] if harm == "unnoted" else ["1.jpg"])
    assert path.read_bytes() == whole


def test_painting_that_was_interrupted_goes_on_where_it_was(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pictures.write

    def interrupted(shot: pictures.Shot, path: Path) -> None:
        if shot.name == "1.jpg":
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        write(shot, path)

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            album.filled(kept, lambda: None)
    assert sorted(path.name for path in kept.iterdir()) == ["0.jpg", "sums.json"]
    assert painted(kept, monkeypatch) == ["1.jpg"]


def test_albums_of_other_painters_stay_but_for_the_oldest(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [kept.with_name(f"demo-pictures-{n}") for n in range(album.KEPT + 1)]
    for age, other in enumerate(others):
        other.mkdir(parents=True)
        (other / "sums.json").touch()
        os.utime(other / "sums.json", (1_000_000 + age, 1_000_000 + age))
    (kept.parent / "something").mkdir()
    painted(kept, monkeypatch)
    assert [other.exists() for other in others] == [False, False, True, True]
    assert (kept.parent / "something").exists()


def test_there_is_no_album_where_there_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    found = album.folder()
    assert found is not None
    assert found.parent == Path("/home/me/.cache/fastproc")
    monkeypatch.setenv("HOME", "nowhere")
    assert album.folder() is None


def test_another_pillow_begins_another_album(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album.PIL, "__version__", "0.0")
    assert album.folder() != kept
