"""What one attempt of a job took, for the one line that the log has of it: times by step, bytes of its photo."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

#: Steps of the job line, and the fields that hold their time.
FIELDS: Final = {"fetch": "fetchMs", "work": "workMs", "store": "storeMs"}


class Took:
    """Times from its making on. `size` is the photo's, once it is known.

    It is the context of its own steps, which come one after another: a generator's context costs five times as much.
    """

    def __init__(self) -> None:
        self._began = self._at = time.monotonic()
        self._field = ""
        self._ms: dict[str, int] = {}
        self.size: int | None = None

    @property
    def seconds(self) -> float:
        """How long the attempt has taken until now."""
        return time.monotonic() - self._began

    def of(self, step: str) -> Took:
        """Time the block as this step of FIELDS, whatever ends it."""
        self._field = FIELDS[step]
        return self

    def __enter__(self) -> None:
        self._at = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ms[self._field] = int((time.monotonic() - self._at) * 1000)

    def fields(self, seconds: float) -> dict[str, int | None]:
        """Return the fields of an attempt that took so long; steps that it has not come to are missing."""
        return {"ms": int(seconds * 1000), **self._ms, "bytes": self.size}
