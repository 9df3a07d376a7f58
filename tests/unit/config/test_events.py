"""Events' further ways out: what names the adapter, and keys that would be somebody else's."""

from __future__ import annotations

import pytest

from fastproc.config.events import EventsConfig
from fastproc.config.queue import QueueConfig
from fastproc.config.settings import load
from fastproc.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "adapter"),
    [
        ("1", "pubsub"),
        ("TRUE", "pubsub"),
        ("PubSub", "pubsub"),
        ("sharded", "sharded"),
        ("streams", "streams"),
        ("0", "off"),
        ("false", "off"),
        ("off", "off"),
    ],
)
def test_an_adapter_is_named_or_switched_on_and_off(text: str, adapter: str) -> None:
    assert load({"EVENTS_SOCKETIO": text}, 1).events.socketio == adapter


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"EVENTS_STREAM": "bull:photos"}, "EVENTS_STREAM: 'bull:photos' is among the queue's own keys"),
        (
            {"EVENTS_SOCKETIO": "streams", "EVENTS_SOCKETIO_KEY": "bull:io"},
            "EVENTS_SOCKETIO_KEY: 'bull:io' is among the queue's own keys",
        ),
        ({"EVENTS_SOCKETIO": "streams", "EVENTS_STREAM": "socket.io"}, "EVENTS_STREAM: 'socket.io' is Socket.IO's"),
    ],
)  # fmt: skip
def test_a_key_of_somebody_else_is_refused(env: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(env, 1)
    [found] = caught.value.problems
    assert found.startswith(problem)


@pytest.mark.parametrize("adapter", ["off", "pubsub", "sharded"])
def test_the_name_of_a_channel_is_no_key(adapter: str) -> None:
    load({"EVENTS_SOCKETIO": adapter, "EVENTS_SOCKETIO_KEY": "bull:io", "EVENTS_STREAM": "bullet"}, 1)


#: What is on, and the variables that need the hash tag of the queue.
IN_A_CLUSTER = [
    ({"stream": "events"}, ["EVENTS_STREAM"]),
    ({"stream": "{other}events"}, ["EVENTS_STREAM"]),
    ({"stream": "x{bull}events"}, []),
    ({"stream": "{}{bull}events"}, ["EVENTS_STREAM"]),
    ({"socketio": "pubsub"}, []),
    ({"socketio": "sharded"}, ["EVENTS_SOCKETIO_KEY"]),
    ({"socketio": "streams", "stream": "e"}, ["EVENTS_STREAM", "EVENTS_SOCKETIO_KEY"]),
    ({"socketio": "streams", "socketio_key": "{bull}io"}, []),
    ({"socketio": "sharded", "socketio_key": "{bull}io"}, []),
]


@pytest.mark.parametrize(("settings", "named"), IN_A_CLUSTER)
def test_in_a_cluster_keys_need_the_queues_hash_tag(settings: dict[str, str], named: list[str]) -> None:
    events, queue = EventsConfig(**settings), QueueConfig(prefix="{bull}")
    assert [each.partition(":")[0] for each in events.conflicts(queue, cluster=True)] == named
    assert events.conflicts(queue, cluster=False) == []
