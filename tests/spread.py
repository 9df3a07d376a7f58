"""How pytest-xdist spreads the tests: by file, and tests/chaos as a whole.

The cases of tests/chaos run side by side in one process already, and each process that has one of them runs them all.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

TOGETHER = "tests/chaos/"


def scope(nodeid: str) -> str:
    """Return the name of the tests that stay together with this one."""
    return TOGETHER if nodeid.startswith(TOGETHER) else nodeid.partition("::")[0]


class Spread(LoadFileScheduling):
    """By file, but for those that stay together."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spread:
    """Spread so, whatever `--dist` says."""
    return Spread(config, log)
