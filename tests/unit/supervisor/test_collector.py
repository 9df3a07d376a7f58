"""What the start has made is left alone while jobs run, and looked at again afterwards."""

from __future__ import annotations

import gc
import weakref

from fastproc.supervisor.collector import YOUNG, calm


class Knot:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.self = self


def test_what_exists_is_frozen_in_the_block_alone_and_new_cycles_are_still_collected() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    with calm():
        assert gc.get_threshold()[0] == YOUNG
        assert gc.get_freeze_count() > frozen + 1000
        seen = weakref.ref(Knot())
        gc.collect()
        assert seen() is None
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0
