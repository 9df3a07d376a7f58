"""Looks at stages of your own before the service starts: can they be imported, are their settings right?

Started by `ipc.stage_check`, with a worker's environment: the supervisor, which has credentials, never imports a stage.
The answer is the last line on stdout, after whatever a stage prints.

Rule 1: all problems of all stages are told at once. Each would end every worker at its start, or every job.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from fastproc.ipc.stage_check import Found, Order, Row
from fastproc.worker import stage_options
from fastproc.worker.stage import find


def found(order: Order) -> Found:
    """Import the stages and check them."""
    problems: list[str] = []
    rows: list[Row] = []
    for name in order.stages:
        texts = order.settings.get(name, {})
        try:
            stage = find(name)
            wrong = _shape(name, stage) or stage_options.problems(stage, texts)
        except Exception as error:  # a stage's import runs anybody's code
            wrong = [f"PIPELINE: stage {name!r} cannot be loaded: {type(error).__name__}: {error}"]
        problems += wrong
        rows += [] if wrong else stage_options.rows(stage, texts)
    return Found(tuple(problems), tuple(rows))


def _shape(name: str, stage: Any) -> list[str]:
    own = getattr(stage, "NAME", None)
    if own != name:
        return [f"PIPELINE: stage {name!r}: its NAME is {own!r}, its entry point's name is {name!r}"]
    if not callable(getattr(stage, "run", None)):
        return [f"PIPELINE: stage {name!r} has no function run(work)"]
    return []


def main(argv: list[str]) -> None:
    """Print the answer."""
    answer = found(msgspec.json.decode(argv[1], type=Order))
    sys.stdout.write(f"\n{msgspec.json.encode(answer).decode()}\n")


if __name__ == "__main__":
    main(sys.argv)
    sys.stdout.flush()
    # A stage's libraries may have threads that never end.
    os._exit(0)
