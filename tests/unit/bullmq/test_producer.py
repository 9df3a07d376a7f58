"""A script that the server has forgotten ran nothing: the job is added again, and not without end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ResponseError

from fastproc.bullmq.producer import SCRIPT_TRIES, Producer
from fastproc.bullmq.protocol import Keys


class Queue:
    """Raises one error after the other, then adds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    async def add(self, *_: Any) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return SimpleNamespace(id="7")


async def test_a_forgotten_script_is_called_again() -> None:
    queue = Queue(*[NoScriptError()] * (SCRIPT_TRIES - 1))
    assert await Producer(queue, None, Keys("bull", "q")).add({}, {}) == "7"
    assert queue.calls == SCRIPT_TRIES


@pytest.mark.parametrize("error", [NoScriptError(), ResponseError("OOM")])
async def test_what_goes_on_or_is_something_else_is_raised(error: Exception) -> None:
    queue = Queue(*[error] * SCRIPT_TRIES)
    with pytest.raises(type(error)):
        await Producer(queue, None, Keys("bull", "q")).add({}, {})
    assert queue.calls == (SCRIPT_TRIES if isinstance(error, NoScriptError) else 1)
