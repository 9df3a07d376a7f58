"""Signs webhooks as Standard Webhooks 1.0.0 asks, so that its libraries verify them.

Rule 1: what is signed is `id.timestamp.body`, with the bytes that are sent. An id has no full stop in it.
Rule 2: the time is that of the attempt, so that receivers may refuse old requests.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence


def webhook_id(base: str, event_id: str) -> str:
    """Return the id that a receiver tells doubles by: the same for the same event of the same queue.

    Job ids come from strangers, and two queues count from 1 alike, so the event's own id would not do in a header.
    """
    return "evt_" + hashlib.sha256(f"{base}\0{event_id}".encode()).hexdigest()[:32]


def headers(keys: Sequence[bytes], id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers; each key makes a signature, the newest first."""
    signed = f"{id}.{timestamp_s}.".encode() + body
    signatures = ["v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }
