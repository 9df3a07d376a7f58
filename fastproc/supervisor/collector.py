"""Keeps Python's cyclic collector out of the jobs' way: what the start has made is not looked at again and again.

Rule 1: it goes on collecting: errors and tasks that hold each other are the service's usual cycles.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: New objects that call for a look at the youngest. A job makes some hundred that outlive a look or two.
YOUNG: Final = 5000


@contextmanager
def calm() -> Iterator[None]:
    """In the block, only objects that are made in it are looked at, and less often."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
