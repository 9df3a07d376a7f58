"""BullMQ's Lua files: known ones are taken, anything else ends the start."""

from __future__ import annotations

import hashlib
import pathlib
import shutil

import pytest

from fastproc.bullmq import protocol, scripts
from fastproc.core.errors import ConfigError
from tests.unit.bullmq.test_protocol import package_folder


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the installed package's commands."""
    return pathlib.Path(shutil.copytree(package_folder(), tmp_path / "commands"))


def test_the_installed_package_has_every_command_and_each_is_known() -> None:
    found = scripts.load()
    assert set(found) == set(protocol.SCRIPTS)
    for name, script in found.items():
        assert script.name == name
        assert protocol.knows(name, script.arity)
        assert script.sha1 == hashlib.sha1(script.source.encode()).hexdigest()


@pytest.mark.parametrize("version", scripts.KNOWN)
def test_each_known_version_names_a_file_with_a_known_layout_for_every_command(version: str) -> None:
    named = [pathlib.Path(file).stem.split("-") for file in scripts.KNOWN[version]]
    assert all(protocol.knows(name, int(arity)) for name, arity in named)
    assert {name for name, _ in named} == set(protocol.SCRIPTS)


def test_a_command_that_has_changed_by_a_byte_is_refused_by_name(folder: pathlib.Path) -> None:
    with (folder / "moveToFinished-14.lua").open("a") as file:
        file.write("\n")
    with pytest.raises(ConfigError) as caught:
        scripts.load(folder)
    assert "moveToFinished-14.lua" in caught.value.problems[0]
    assert any("bullmq==" in problem for problem in caught.value.problems)
    assert all(problem.startswith("bullmq: ") for problem in caught.value.problems)


def test_a_command_that_is_missing_is_refused_by_name(folder: pathlib.Path) -> None:
    (folder / "retryJob-11.lua").unlink()
    with pytest.raises(ConfigError, match="retryJob is missing"):
        scripts.load(folder)


def test_a_command_with_another_number_of_keys_is_refused_though_its_text_is_known(
    folder: pathlib.Path,
) -> None:
    (folder / "retryJob-11.lua").rename(folder / "retryJob-12.lua")
    with pytest.raises(ConfigError, match=r"retryJob-12\.lua"):
        scripts.load(folder)


def test_all_that_is_wrong_is_said_at_once(folder: pathlib.Path) -> None:
    (folder / "retryJob-11.lua").unlink()
    (folder / "addLog-2.lua").write_text("return 0")
    with pytest.raises(ConfigError) as caught:
        scripts.load(folder)
    assert len(caught.value.problems) == 3


def test_files_that_are_none_of_our_commands_do_not_matter(folder: pathlib.Path) -> None:
    (folder / "somethingNew-3.lua").write_text("return 0")
    (folder / "README.lua").write_text("")
    assert set(scripts.load(folder)) == set(protocol.SCRIPTS)


def test_an_empty_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError):
        scripts.load(tmp_path)


def test_the_installed_version_is_known_by_name() -> None:
    assert scripts.installed_version() in scripts.KNOWN
