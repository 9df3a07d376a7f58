"""The pipeline in this process: one photo in, its answer out, renditions as Pillow reads them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from fastproc.core.model import Limits, Options
from fastproc.ipc.messages import Done, Failed
from fastproc.worker import encoders, stage
from fastproc.worker.pipeline import Pipeline

OPTIONS = Options(limits=Limits(formats=("jpeg", "png", "webp", "heic", "avif", "gif"), min_side_px=1))


ENCODERS = encoders.Encoders()


class Run:
    """One photo's run: `answer`, and for a Done its facts and pictures."""

    def __init__(self, data: bytes, content_type: str | None, options: Options, capacity: int) -> None:
        self.progress: list[str] = []
        output = bytearray(capacity)
        pipeline = Pipeline(options, stage.load(options.stages), ENCODERS)
        self.answer: Done | Failed = pipeline.run(
            memoryview(data).toreadonly(), content_type, memoryview(output), self.progress.append
        )
        self._output = output

    @property
    def report(self) -> Any:
        assert isinstance(self.answer, Done), self.answer
        return self.answer.report

    @property
    def facts(self) -> dict[str, Any]:
        return self.report.facts["metadata"]

    @property
    def code(self) -> str:
        return self.answer.code if isinstance(self.answer, Failed) else "done"

    def bytes_of(self, name: str) -> bytes:
        found = next(r for r in self.report.renditions if r.name == name)
        return bytes(self._output[found.offset : found.offset + found.size])

    def picture(self, name: str = "thumb_lg") -> Image.Image:
        picture = Image.open(io.BytesIO(self.bytes_of(name)))
        picture.load()
        return picture


@pytest.fixture(scope="session")
def run() -> Callable[..., Run]:
    def go(
        data: bytes, content_type: str | None = None, options: Options = OPTIONS, capacity: int = 8 << 20
    ) -> Run:
        return Run(data, content_type, options, capacity)

    return go
