"""Variables by file: what a deployment's secrets look like, and what is refused without showing it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastproc.config.files import MAX_BYTES
from fastproc.config.settings import Config, load, table
from fastproc.core.errors import ConfigError

NAMES = [row.env for row in table(Config())]


def problems(**env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(env, 1)
    return caught.value.problems


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("content", [b"hush", b"hush\n", b"hush\r\n", b"  hush \n\n"])
def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path: Path, content: bytes) -> None:
    file = written(tmp_path / "secret", content)
    link = tmp_path / "link"
    link.symlink_to(file)  # As Kubernetes mounts them.
    for path in (file, str(link)):
        assert load({"MINIO_SECRET_KEY_FILE": path}, 1).s3.secret_key == "hush"
        assert load({"REDIS_PASSWORD_FILE": path, "REDIS_PASSWORD": " "}, 1).redis.password == "hush"


def test_urls_and_numbers_come_by_file_too_and_are_checked(tmp_path: Path) -> None:
    url = written(tmp_path / "url", b"redis://:hush@h:1/2\n")
    port = written(tmp_path / "port", b"7\n")
    found = load({"REDIS_URL_FILE": url, "MINIO_PORT_FILE": port}, 1)
    assert (found.redis.url, found.s3.port) == ("redis://:hush@h:1/2", 7)
    assert load({"DATABASE_URL_FILE": written(tmp_path / "db", b"sqlite:////x/y.db")}, 1).database.url


def test_every_variable_may_come_by_a_file_but_those_that_boto3_reads_itself() -> None:
    """A setting that is added later may too, whatever it is: nobody has to think of it."""
    ours = [name for name in NAMES if problem_by_file(name)]
    theirs = set(NAMES) - set(ours)
    assert theirs == {
        "AWS_PROFILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    }


def problem_by_file(name: str) -> bool:
    try:
        load({f"{name}_FILE": "/no/such/file"}, 1)
    except ConfigError as error:
        return error.problems == [f"{name}_FILE: cannot read '/no/such/file' (No such file or directory)"]
    return False


def test_no_variable_is_named_like_the_file_of_another() -> None:
    assert [name for name in NAMES if f"{name}_FILE" in NAMES] == []


def test_both_at_once_are_refused() -> None:
    assert problems(MINIO_SECRET_KEY="a", MINIO_SECRET_KEY_FILE="/x") == [
        "MINIO_SECRET_KEY_FILE: MINIO_SECRET_KEY is set too: set one of them"
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"x" * (MAX_BYTES + 1), f"has more than {MAX_BYTES} bytes"),
        (b"\xff\xfe", "is not text (UTF-8)"),
        (b"a\0b", "is not text: it has a NUL byte"),
    ],
    ids=["empty", "blank", "large", "binary", "NUL"],
)
def test_a_file_that_holds_no_secret_is_named_with_its_variable(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = written(tmp_path / "f", content)
    assert problems(REDIS_PASSWORD_FILE=path) == [f"REDIS_PASSWORD_FILE: {path!r} {why}"]


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert problems(REDIS_PASSWORD_FILE=str(pipe)) == [f"REDIS_PASSWORD_FILE: {str(pipe)!r} is not a file"]
    assert problems(REDIS_PASSWORD_FILE="/dev/zero") == ["REDIS_PASSWORD_FILE: '/dev/zero' is not a file"]
    assert "REDIS_PASSWORD_FILE: " in problems(REDIS_PASSWORD_FILE=str(tmp_path))[0]


def test_no_message_shows_what_a_file_holds(tmp_path: Path) -> None:
    path = written(tmp_path / "f", b"root:hush:0")
    assert problems(MINIO_PORT_FILE=path) == ["MINIO_PORT_FILE: expected a whole number"]
    assert problems(REDIS_URL_FILE=path) == [
        "REDIS_URL_FILE: expected a URL that begins with redis:// or rediss:// or unix://"
    ]


def test_the_table_masks_a_secret_that_came_by_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "f", b"hush")
    rows = {row.env: row.value for row in table(load({"MINIO_SECRET_KEY_FILE": path}, 1))}
    assert rows["MINIO_SECRET_KEY"] == "********"
