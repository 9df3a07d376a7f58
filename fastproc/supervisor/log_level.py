"""How much is logged, now and when somebody changes it at run time.

Rule 1: the level is that of our own loggers. Other libraries' stay at warning, whatever is asked for: below, they write
        keys, signed URLs and whole requests.
"""

from __future__ import annotations

import logging
from typing import Final

#: The parent of all loggers of ours.
OURS: Final = "fastproc"
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_level(level: str) -> None:
    """Log at `level` (of LEVELS) from now on. Raises KeyError for another."""
    number = LEVELS[level]
    logging.getLogger(OURS).setLevel(number)
    logging.getLogger().setLevel(max(number, logging.WARNING))
