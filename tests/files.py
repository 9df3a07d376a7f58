"""Where the tests' files go: a folder of this run alone, removed when all tests pass and kept when one fails.

Rule 1: no run cleans up after another. What one that was killed left behind may be impossible to remove (a disk that
        a test mounted, folders of any depth); pytest removes the folders of earlier runs, and failed the next run so.
Rule 2: a folder that was asked for with --basetemp is left as it is.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

OWN = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)  # Before pytest's own plug-in looks at the option.
def pytest_configure(config: pytest.Config) -> None:
    if config.option.basetemp is None:  # The processes of a parallel run are given theirs.
        config.stash[OWN] = Path(tempfile.mkdtemp(prefix="fastproc-tests-"))
        config.option.basetemp = str(config.stash[OWN] / "t")


@pytest.hookimpl(trylast=True)  # After the processes of a parallel run have ended.
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    own = session.config.stash.get(OWN, None)
    if own is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(own, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str | None:
    own = config.stash.get(OWN, None)
    return None if own is None else f"files: {own}, removed if all tests pass"
