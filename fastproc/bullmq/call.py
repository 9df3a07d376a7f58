"""How a Redis command is sent, as those see it who do not own the connection."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Call(Protocol):
    """Sends one Redis command soon; the future brings its reply."""

    def __call__(self, *command: str | bytes | int) -> asyncio.Future[Any]: ...
