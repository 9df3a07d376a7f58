"""The object store is away, slow, half there, or somebody else answers for it: jobs with one attempt are completed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from fastproc.embedded.trial.faults import (
    MAINTENANCE,
    NOT_FOUND,
    Cut,
    Drip,
    Fault,
    Flip,
    FlipSent,
    Hang,
    Reset,
    page,
    refusal,
)
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.proxy import Rule, always
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import endure

GET_PHOTO, PUT = b"GET /", b"PUT /"


def first(count: int, fault: Fault, *beginnings: bytes) -> Callable[[], Rule]:
    """Only so many requests meet the fault."""

    def fresh() -> Rule:
        left = [fault] * count
        every = always(fault, *beginnings)

        def rule(words: bytes) -> Fault | None:
            if every(words) is None or b"/no-such-object" in words:
                return None
            with suppress(IndexError):
                return left.pop()
            return None

        return rule

    return fresh


def all_of(fault: Fault, *beginnings: bytes) -> Callable[[], Rule]:
    """Every request meets the fault, or every one that begins so."""
    return lambda: always(fault, *beginnings)


#: name -> the rule, and whether /ready must fail meanwhile.
FAULTS: dict[str, tuple[Callable[[], Rule], bool]] = {
    "answers 503 SlowDown": (all_of(refusal(503, b"SlowDown")), True),
    "answers 500": (all_of(refusal(500, b"InternalError")), True),
    "hangs": (all_of(Hang()), True),
    "resets every connection": (all_of(Reset()), True),
    "a load balancer's 404 page": (all_of(page(404, NOT_FOUND)), True),
    "an empty 404": (all_of(page(404, b"")), True),
    "a maintenance page with status 200": (all_of(page(200, MAINTENANCE)), True),
    "NoSuchBucket": (all_of(refusal(404, b"NoSuchBucket")), True),
    "AccessDenied for everything": (all_of(refusal(403, b"AccessDenied")), True),
    "uploads answered 503": (all_of(refusal(503, b"SlowDown"), PUT), True),
    "uploads answered with a page of status 200": (all_of(page(200, MAINTENANCE), PUT), True),
    "uploads hang": (all_of(Hang(), PUT), False),
    "bodies are cut": (all_of(Cut(900), GET_PHOTO), False),
    "4 of 24 bodies drip": (first(4, Drip(5.0), GET_PHOTO), False),
    "a bit of 4 photos is flipped": (first(4, Flip(700), GET_PHOTO), False),
    "a bit of 4 uploads is flipped": (first(4, FlipSent(300), PUT), False),
}


def scenario(make: Make, name: str) -> list[str]:
    with make() as place:
        service = place.start(**(ROOM if "drip" in name else {}))
        if name == REFUSED:
            return endure(place, service, place.s3_proxy.refuse, place.s3_proxy.allow, not_ready="storage")
        fresh, fails = FAULTS[name]

        def begin() -> None:
            place.s3_proxy.rule = fresh()

        # Three tries of the same photo must fall into it.
        seconds = 4.0 if "cut" in name else 1.5
        not_ready = "storage" if fails else ""
        return endure(place, service, begin, lambda: lift(place), seconds=seconds, not_ready=not_ready)


def lift(place: Place) -> None:
    place.s3_proxy.rule = None


REFUSED = "refuses connections"
#: Room for 4 photos that drip, and for others beside them.
ROOM = {"WORKER_CONCURRENCY": "2", "PREFETCH": "4"}


@pytest.mark.parametrize("name", [REFUSED, *FAULTS])
def test_no_job_fails_because_of_the_store(name: str, wrong: Wrong) -> None:
    assert wrong(name) == []
