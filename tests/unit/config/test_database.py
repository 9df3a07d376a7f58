"""The database's settings: a URL whose scheme chooses the store, or a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastproc.config.database import DatabaseConfig, schemes
from fastproc.config.settings import load, table
from fastproc.core.errors import ConfigError


def problems(**env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(env, 1)
    return caught.value.problems


def test_without_variables_it_is_the_sqlite_file_of_the_contract() -> None:
    found = load({}, 1).database
    assert (found.scheme, found.location, found.sqlite_path) == (
        "sqlite",
        "./data/photos.db",
        "./data/photos.db",
    )
    assert found.where == "./data/photos.db (SQLITE_PATH)"


def test_a_path_is_a_sqlite_file() -> None:
    found = load({"SQLITE_PATH": "/x/y.db"}, 1).database
    assert (found.scheme, found.location, found.where) == ("sqlite", "/x/y.db", "/x/y.db (SQLITE_PATH)")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/photos.db", "/var/lib/photos.db"),
        ("sqlite:///data/photos.db", "data/photos.db"),
        ("sqlite:///./a b.db", "./a b.db"),
    ],
)
def test_a_sqlite_url_is_read_as_sqlalchemy_writes_it(url: str, path: str) -> None:
    found = load({"DATABASE_URL": url}, 1).database
    assert (found.scheme, found.location, found.where) == ("sqlite", path, f"{path} (DATABASE_URL)")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///:memory:",
        "sqlite://host/x.db",
        "sqlite:///x?mode=ro",
    ],
)
def test_a_sqlite_url_that_names_no_file_is_refused(url: str) -> None:
    [problem] = problems(DATABASE_URL=url)
    assert problem.startswith("DATABASE_URL: expected sqlite:///relative/path or sqlite:////absolute/path")


@pytest.mark.parametrize(
    "url", ["nosuch://me:hush@h/db", "SQLITE:///x", "sqlite+aiosqlite:///x", "x.db", "://x"]
)
def test_a_scheme_without_a_store_is_refused_with_those_that_have_one(url: str) -> None:
    [problem] = problems(DATABASE_URL=url)
    assert problem.startswith("DATABASE_URL: ")
    assert all(f"{scheme}://" in problem for scheme in schemes())
    assert "hush" not in problem


def test_the_file_name_of_a_store_is_its_registration(tmp_path: Path) -> None:
    for name in ("metadata_sqlite.py", "metadata_odd.py", "events_redis.py", "metadata.py", "metadata_x.txt"):
        (tmp_path / name).touch()
    assert schemes(tmp_path) == ("odd", "sqlite")
    assert "sqlite" in schemes()


def test_another_database_is_located_by_its_whole_url() -> None:
    found = DatabaseConfig(url="odd://me:hush@h:5/photos")
    assert (found.scheme, found.location, found.sqlite_path) == ("odd", "odd://me:hush@h:5/photos", "")
    assert found.where == "odd://me:********@h:5/photos (DATABASE_URL)"


def test_both_variables_may_name_the_same_file_but_not_different_ones() -> None:
    same = load({"DATABASE_URL": "sqlite:///data/photos.db", "SQLITE_PATH": "./data/photos.db"}, 1)
    assert same.database.location == "data/photos.db"
    [problem] = problems(DATABASE_URL="sqlite:////x/a.db", SQLITE_PATH="./data/photos.db")
    assert problem.startswith("DATABASE_URL: ")
    assert "sqlite:////x/a.db" in problem
    assert "SQLITE_PATH is './data/photos.db'" in problem
    assert DatabaseConfig(url="odd://me:hush@h/db", path="a.db").conflicts() == [
        "DATABASE_URL: it is 'odd://me:********@h/db' and SQLITE_PATH is 'a.db': set one of them"
    ]


def test_the_table_shows_the_default_of_the_path_and_no_password() -> None:
    rows = {row.env: row for row in table(load({}, 1))}
    assert (rows["SQLITE_PATH"].value, rows["SQLITE_PATH"].default) == (
        "./data/photos.db",
        "./data/photos.db",
    )
    assert (rows["DATABASE_URL"].value, rows["DATABASE_URL"].default) == ("", "")


POSTGRESQL = [
    "postgresql://me:hush@h:5432/photos",
    "postgres://h/photos",
    "postgresql://me:hush%40@h1:5432,h2:5433/photos?target_session_attrs=read-write&sslmode=verify-full",
    "postgresql:///photos?host=/run/postgresql",
    "postgresql://me@%2Frun%2Fpostgresql/photos",
    "postgresql://[::1]:5432,[fe80::1%25eth0]/photos?password=hush",
]


@pytest.mark.parametrize("url", POSTGRESQL)
def test_a_postgresql_url_is_read_as_its_library_writes_it(url: str) -> None:
    found = load({"DATABASE_URL": url}, 1).database
    assert (found.scheme, found.location, found.sqlite_path) == ("postgresql", url, "")
    assert "hush" not in found.where


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hu@sh@h/db",
        "postgresql://me:hu/sh@h/db",
        "postgresql://me:hu?sh@h/db",
        "postgresql://me:hu#sh@h/db",
        "postgresql://h:0/db",
        "postgresql://h:65536/db",
        "postgresql://h1,h 2/db",
    ],
)
def test_a_postgresql_url_that_would_be_misread_is_refused_without_its_password(url: str) -> None:
    [problem] = problems(DATABASE_URL=url)
    assert problem.startswith("DATABASE_URL: ")
    assert "need %-escapes" in problem
    assert "hu" not in problem
    assert "sh@" not in problem
