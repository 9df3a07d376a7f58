"""Settings of the database: where the photos' rows are, and which store serves that kind of database.

Rule 1: the scheme of DATABASE_URL names the store's file, `backends/metadata_<scheme>.py`: which schemes exist is
        read from that folder. No list has to be kept.
"""

from __future__ import annotations

import pkgutil
import posixpath
import re
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var

DEFAULT_PATH = "./data/photos.db"

#: Other names of a scheme, as clients of that database take them.
_ALIASES = {"postgres": "postgresql"}

_STORES = Path(__file__).parents[1] / "backends"
_PREFIX = "metadata_"


def schemes(folder: Path = _STORES) -> tuple[str, ...]:
    """Return the schemes that have a store, in order. Nothing is imported."""
    names = (module.name for module in pkgutil.iter_modules([str(folder)]))
    return tuple(sorted(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)))


def database_url(text: str) -> str:
    """A URL whose scheme has a store; SQLite's in the form that SQLAlchemy uses. Raises ValueError."""
    scheme, colon, _ = text.partition("://")
    scheme = _ALIASES.get(scheme, scheme)
    if not colon or scheme not in schemes():
        known = ", ".join(f"{name}://" for name in schemes())
        raise ValueError(f"expected a URL with one of the schemes that have a store: {known}")
    if scheme == "sqlite":
        if not _sqlite_path(text):
            raise ValueError("expected sqlite:///relative/path or sqlite:////absolute/path")
        return text
    if scheme == "postgresql":
        return values.postgresql_url(text)
    return values.url(scheme)(text)


def _sqlite_path(url: str) -> str:
    """The file of a SQLite URL; "" if there is none, such as in a URL with a host, a query or `:memory:`."""
    found = re.fullmatch(r"sqlite:///([^?#]+)", url)
    return found[1] if found and found[1] not in ("/", ":memory:") else ""


class DatabaseConfig(Struct, frozen=True, kw_only=True):
    """Where the photos' rows are: `scheme` chooses the store, `location` is what it opens."""

    url: Annotated[
        str | None,
        var(
            "DATABASE_URL",
            "database with the table `photos`: `postgresql://user:password@host:5432/name`,"
            " `sqlite:///relative/path` or `sqlite:////absolute/path`; replaces SQLITE_PATH",
            extra={"parse": database_url},
        ),
    ] = None
    path: Annotated[
        str | None,
        var("SQLITE_PATH", "SQLite file with the table `photos`", extra={"shown": DEFAULT_PATH}),
    ] = None

    @property
    def scheme(self) -> str:
        """The kind of database, which names the store: `sqlite` unless DATABASE_URL says otherwise."""
        scheme = self.url.partition("://")[0] if self.url else "sqlite"
        return _ALIASES.get(scheme, scheme)

    @property
    def location(self) -> str:
        """What the store of `scheme` opens: the file of SQLite, the whole URL of any other database."""
        return self.sqlite_path if self.scheme == "sqlite" else str(self.url)

    @property
    def sqlite_path(self) -> str:
        """The SQLite file, relative to the working directory or absolute; "" for another kind of database."""
        return _sqlite_path(self.url) if self.url else self.path or DEFAULT_PATH

    @property
    def where(self) -> str:
        """The database and the variable that names it, for messages; passwords masked."""
        if self.scheme == "sqlite":
            return f"{self.sqlite_path} ({'DATABASE_URL' if self.url else 'SQLITE_PATH'})"
        return f"{values.masked(self.location, secret=False)} (DATABASE_URL)"

    def conflicts(self) -> list[str]:
        """Return the problems between these settings, each beginning with its variable."""
        if not self.url or not self.path:
            return []
        if self.sqlite_path and posixpath.normpath(self.sqlite_path) == posixpath.normpath(self.path):
            return []
        shown = values.masked(self.url, secret=False)
        return [f"DATABASE_URL: it is {shown!r} and SQLITE_PATH is {self.path!r}: set one of them"]
