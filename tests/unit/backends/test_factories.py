"""A backend whose driver is not installed is a sentence that says what to install."""

from __future__ import annotations

import sys

import pytest

from fastproc.backends import factories
from fastproc.config.settings import load
from fastproc.core.errors import ConfigError


@pytest.mark.parametrize("missing", ["psycopg", "psycopg.pq"])
def test_a_database_without_its_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    # The driver, or the C library that it needs: psycopg raises ImportError for both.
    for name in [name for name in sys.modules if name.split(".")[0] == "psycopg" or "postgresql" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as caught:
        factories.metadata_store(load({"DATABASE_URL": "postgres://me:hush@h/db"}, 1).database)
    [problem] = caught.value.problems
    assert problem.startswith("DATABASE_URL: postgresql:// needs psycopg: pip install 'fastproc[postgres]'")
    assert "hush" not in problem
