"""A short run of every fuzzing target: seeds cut, mutated and spliced. `run.py` runs longer, guided by coverage."""

from __future__ import annotations

import random
import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

SEEDS = {name: list(seeds()) for name, (_, seeds) in TARGETS.items()}
#: Values at which arithmetic on sizes and counts fails.
ODD = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(seeds: list[bytes], dice: random.Random) -> bytes:
    """One seed after a few changes."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = bytes([dice.choice(ODD)])
            case 2:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case 3:
                data[at : at + 4] = bytes(dice.choice(ODD) for _ in range(dice.choice((2, 4, 8))))
            case 4:
                del data[at : at + dice.randint(1, 30)]
            case 5:
                other = dice.choice(seeds)
                start = dice.randrange(len(other) + 1)
                data[at:at] = other[start : start + dice.randint(1, 200)]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_pass(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name][0](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_every_beginning_of_a_seed_passes(name: str) -> None:
    for seed in SEEDS[name]:
        for end in range(min(len(seed), 700)):
            TARGETS[name][0](seed[:end])


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dice=st.randoms(use_true_random=False))
def test_mutated_seeds_pass(name: str, dice: random.Random) -> None:
    TARGETS[name][0](mutated(SEEDS[name], dice))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_pass(name: str, data: bytes) -> None:
    TARGETS[name][0](data)


def test_the_longer_run_says_in_a_line_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(Path(__file__).with_name("run.py")))
    assert (ended.value.code, capsys.readouterr().err) == (
        2,
        "run.py: it needs atheris: pip install atheris\n",
    )
