"""Receives every event that the service publishes, as an application's subscriber does, in a thread of its own."""

from __future__ import annotations

import json
import threading
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

#: The contract's channels.
_PATTERN = "photo.processing.*"
_POLL_S = 0.1


class Listener:
    """Subscribes directly to the server. `events` holds what came; `gaps` counts the times it had to subscribe again.

    Pub/Sub keeps nothing: with a gap, an event that is not here may have been published.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.events: list[dict[str, Any]] = []
        self.gaps = 0
        self._ends = threading.Event()
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._subscribed.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        # Without redis-py's own retries: it would subscribe again without a word.
        retry = Retry(NoBackoff(), 0)
        with redis.Redis(
            port=self._port, protocol=2, socket_timeout=30, decode_responses=True, retry=retry
        ) as client:
            while not self._ends.is_set():
                try:
                    self._listen(client)
                except (RedisError, OSError):
                    self.gaps += 1
                    self._ends.wait(_POLL_S)

    def _listen(self, client: Any) -> None:
        with client.pubsub() as subscriber:
            subscriber.psubscribe(_PATTERN)
            while not self._ends.is_set():
                message = subscriber.get_message(timeout=_POLL_S)
                if message is None:
                    continue
                if message["type"] == "psubscribe":
                    self._subscribed.set()
                elif message["type"] == "pmessage":
                    self.events.append(json.loads(message["data"]))
