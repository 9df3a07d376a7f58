"""An operator's order to end a job, as the services of a queue see it. Pure."""

from __future__ import annotations

from msgspec import Struct


class Mark(Struct, frozen=True):
    """Why a job shall end, who says so, and since when (ms, wall clock)."""

    why: str = ""
    by: str = ""
    at: int = 0

    @property
    def message(self) -> str:
        """The message of the error: what the application gets."""
        return f"an operator has cancelled the job{f': {self.why}' if self.why else ''}"
