"""Follows the events of the tour's photos, as an application would that subscribes to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from fastproc.bullmq.address import plain_client
from fastproc.config.settings import Config
from fastproc.core import naming
from fastproc.demo.photo import Photo
from fastproc.terminal.progress import PhotoProgress

#: Seconds of one look for an event. Between two events a photo may take longer than any time-out of the connection.
_LOOK_S: Final = 1.0


class Listener:
    """Notes what the events report of each photo, and shows it as progress. `all_ended` is set after the last."""

    def __init__(self, photos: list[Photo], view: PhotoProgress) -> None:
        self.all_ended = asyncio.Event()
        self._photos = {photo.id: photo for photo in photos}
        self._view = view
        self._started_at: dict[str, float] = {}
        self._left = set(self._photos)

    async def follow(self, pubsub: Any) -> None:
        """Take in events until cancelled."""
        while True:
            if message := await pubsub.get_message(timeout=_LOOK_S):
                self.receive(msgspec.json.decode(message["data"]))

    def receive(self, event: dict[str, Any]) -> None:
        """Take in one event. An attempt that will be retried does not end its photo."""
        data, now = event["data"], time.monotonic()
        photo = self._photos[data["photoId"]]
        if event["type"] == naming.STARTED:
            self._started_at.setdefault(photo.id, now)
            self._view.started(photo.file.name)
        elif event["type"] == naming.PROGRESS:
            self._view.stage(photo.file.name, data["progress"])
        elif not data.get("error", {}).get("willRetry"):
            photo.reported, photo.seconds = data, now - self._started_at.get(photo.id, now)
            self._view.finished(photo.file.name, "error" not in data, meant=photo.is_meant)
            self._left.discard(photo.id)
            if not self._left:
                self.all_ended.set()


@asynccontextmanager
async def listening(config: Config, photos: list[Photo], view: PhotoProgress) -> AsyncIterator[asyncio.Event]:
    """Subscribe while the block runs. The event is set when every photo has ended."""
    redis = await plain_client(config.redis, config.queue.prefix)
    pubsub = redis.pubsub(ignore_subscribe_messages=True)
    await pubsub.psubscribe("photo.processing.*")
    listener = Listener(photos, view)
    following = asyncio.create_task(listener.follow(pubsub))
    try:
        yield listener.all_ended
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await pubsub.aclose()  # type: ignore[no-untyped-call]
        await redis.aclose()
