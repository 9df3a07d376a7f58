"""Leaves out of a report what no row and no reader could take, and says so in a warning that names stage and key.

Rule 1: a fact that is wrong is a stage's mistake and says nothing of the photo: the photo is completed without it.
Rule 2: what is left can always be sent: the supervisor takes a worker that sends anything else for one taken over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from fastproc.core import facts as rules
from fastproc.ipc.messages import MAX_MESSAGE_BYTES, Done

MAX_LINE_CHARS: Final = 500
#: Bytes that are kept free in a packet for the warnings about facts that were dropped from it.
WARNING_BYTES: Final = 4096
#: Facts of one stage that are named, warnings of one photo, and their bytes in all: a stage may make them in a loop.
MOST_NAMED: Final = 10
MOST_WARNINGS, MOST_WARNING_BYTES = 150, 32 << 10
#: Values up to this size are not dropped one by one: that would save little, and their names would stay.
SMALL_BYTES: Final = 256
#: JSON of the same values has at most so many times the bytes of MessagePack: control characters.
_JSON_TIMES: Final = 6
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def one_line(text: str) -> str:
    """Return the text without control characters and line breaks, at most 500 characters: it becomes a log line."""
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_LINE_CHARS]


def sound(stage: str, facts: Any, warn: list[str]) -> dict[str, Any]:
    """Return the facts of a stage that are facts; `warn` gets a line for each of the others."""
    if not isinstance(facts, dict):
        warn.append(f"the facts of {stage} are left out: they are a {type(facts).__name__} and no dictionary")
        return {}
    wrong = {
        key: fault
        for key, value in facts.items()
        if (fault := rules.fault_of_key(key) or rules.fault_of(value, tuples=True))
    }
    if not wrong:
        return facts
    named = list(wrong.items())[:MOST_NAMED]
    warn += [one_line(f"{stage}.{str(key)[:64]} is left out of the facts: {fault}") for key, fault in named]
    if len(wrong) > MOST_NAMED:
        warn.append(f"{len(wrong) - MOST_NAMED} further facts of {stage} are left out")
    return {key: value for key, value in facts.items() if key not in wrong}


def lines(warnings: Iterable[Any]) -> tuple[str, ...]:
    """Return warnings as lines, no more than a report may have."""
    found: list[str] = []
    left = MOST_WARNING_BYTES
    for warning in warnings:
        line = one_line(str(warning))
        left -= len(line.encode())
        if left < 0 or len(found) == MOST_WARNINGS:
            found.append("further warnings are left out")
            break
        found.append(line)
    return tuple(found)


def bounded(done: Done) -> Done:
    """Return the message, without its largest facts where a packet or a row could not take them; warnings name them.

    Where that is not enough, because a stage has thousands of small ones, it is without all facts of that stage.
    """
    report = done.report
    packet = len(msgspec.msgpack.encode(done))
    too_much = packet - MAX_MESSAGE_BYTES + WARNING_BYTES
    too_long = packet * _JSON_TIMES - rules.MAX_BYTES
    if too_long > 0:
        too_long = len(msgspec.json.encode(report.facts)) - rules.MAX_BYTES
    if too_much <= 0 and too_long <= 0:
        return done
    dropped, facts = [], {stage: dict(found) for stage, found in report.facts.items()}
    sizes = sorted(
        (len(msgspec.json.encode(value)), len(msgspec.msgpack.encode(value)), stage, key)
        for stage in facts
        for key, value in facts[stage].items()
    )
    while (too_much > 0 or too_long > 0) and sizes and sizes[-1][0] > SMALL_BYTES:
        as_json, size, stage, key = sizes.pop()
        too_much, too_long = too_much - size, too_long - as_json
        facts[stage][key] = None
        dropped.append(f"{stage}.{one_line(key)} of {size} bytes did not fit into the report")
    made = _with(done, facts, dropped)
    by_size = sorted(facts, key=lambda stage: -len(msgspec.json.encode(facts[stage])))
    for stage in by_size:
        if _fits(made):
            break
        facts[stage] = {}
        dropped.insert(0, f"the facts of {stage} did not fit into the report")
        made = _with(done, facts, dropped)
    return made


def _with(done: Done, facts: dict[str, dict[str, Any]], dropped: list[str]) -> Done:
    warnings = lines((*dropped, *done.report.warnings))
    return Done(report=msgspec.structs.replace(done.report, facts=facts, warnings=warnings))


def _fits(done: Done) -> bool:
    packet, text = msgspec.msgpack.encode(done), msgspec.json.encode(done.report.facts)
    return len(packet) <= MAX_MESSAGE_BYTES and len(text) <= rules.MAX_BYTES
