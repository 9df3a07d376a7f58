"""The nouns that two rooms or more share: job, options, rendition, report.

Rule 1: frozen values; a method computes a view of the value and nothing else.
Rule 2: sizes in bytes end in `_bytes` or are called `size`; sides in pixels end in `_px` or are `width`/`height`,
        as displayed; times in `_ms` are durations, but `timestamp_ms` is wall clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct, field

#: A JSON value: what facts are made of. (msgspec has no recursive aliases, so the type cannot be more exact.)
Json = Any

#: How much of its jail a worker must have: every part that is required, whatever is available, none.
Sandbox = Literal["enforce", "best-effort", "off"]


class Backoff(Struct, frozen=True):
    """A job's own backoff: kind `fixed` or `exponential`, delay in ms, jitter in [0, 1]."""

    kind: str = "fixed"
    delay_ms: float = 0.0
    jitter: float = 0.0


class Keep(Struct, frozen=True, kw_only=True):
    """How many finished jobs the queue keeps: the newest `count` (-1 all, 0 none), none older than `age` seconds."""

    count: int | None = None
    age: float | None = None
    limit: int | None = None


class Fault(Struct, frozen=True):
    """Why a job that was taken cannot be run at all; `reason` is the exact text of its `failedReason`."""

    code: str
    reason: str


class Job(Struct, frozen=True, kw_only=True):
    """One job of the queue, as taken: which photo, and the queue's rules for the job.

    `token` is its lock's; `attempt` is 1-based; `deaths` counts earlier attempts that ended with a worker's death;
    `trace` holds the stack entries of earlier attempts, oldest first, of which `trace_limit` are kept; `retry_first`
    puts a job that is retried immediately at the head of the queue. A job with a `fault` must be failed, not run; its
    photo may be unknown (""). `trace_context` is what the producer's telemetry wrote, as text ("": nothing).
    `delay_ms`: how long it was not to be taken after it was added at `timestamp_ms`.
    """

    id: str
    name: str
    token: str
    photo_id: str
    s3_key: str
    bucket: str
    client_id: str | int | None = None
    session_id: str | int | None = None
    timestamp_ms: int = 0
    delay_ms: float = 0.0
    attempt: int = 1
    attempts: int = 1
    backoff: Backoff | None = None
    deaths: int = 0
    retry_first: bool = False
    trace: tuple[str, ...] = ()
    trace_limit: int | None = None
    keep_logs: int | None = None
    keep_completed: Keep = Keep(count=-1)
    keep_failed: Keep = Keep(count=-1)
    fault: Fault | None = None
    trace_context: str = ""


#: How files that are not whole are treated: all fail; files that end early pass, as far as they go; damaged files too.
Integrity = Literal["strict", "truncated", "lenient"]
#: How many pixels the decoder leaves for thumbnails where it can reduce: the fewest, enough to look the same, most.
ThumbnailDecode = Literal["fast", "balanced", "best"]
#: File formats of renditions.
Format = Literal["jpeg", "webp", "avif"]


class ThumbnailSpec(Struct, frozen=True):
    """One entry of THUMBNAILS: fits a square of `side_px`; `format` is THUMBNAIL_FORMAT where it names none."""

    name: str
    side_px: int
    quality: int
    format: Format | None = None


class Limits(Struct, frozen=True, kw_only=True):
    """What a photo may cost a worker, judged from its header. Defaults and meanings: docs/configuration.md."""

    formats: tuple[str, ...] = ("jpeg", "png", "webp", "heic", "avif")
    min_side_px: int = 100
    max_side_px: int = 10_000
    max_pixels: int = 100_000_000
    max_source_bytes: int = 64 << 20
    max_decoded_bytes: int = 1_500_000_000
    max_scans: int = 64
    max_frames: int = 5_000
    max_exif_bytes: int = 1 << 20
    max_icc_bytes: int = 4 << 20


class Options(Struct, frozen=True, kw_only=True):
    """What the pipeline makes from a photo. The same for every job of a service; given to a worker when it starts."""

    stages: tuple[str, ...] = (
        "validation",
        "metadata",
        "thumbnails",
        "optimization",
        "placeholder",
        "phash",
    )
    thumbnails: tuple[ThumbnailSpec, ...] = (
        ThumbnailSpec("thumb_sm", 150, 75),
        ThumbnailSpec("thumb_md", 300, 80),
        ThumbnailSpec("thumb_lg", 600, 85),
    )
    thumbnail_format: Format = "jpeg"
    thumbnail_decode: ThumbnailDecode = "balanced"
    optimize_threshold_bytes: int = 2 << 20
    optimize_quality: int = 85
    optimize_format: Format = "jpeg"
    optimize_min_saving_percent: float = 10.0
    gain_map: Literal["keep", "drop"] = "keep"
    integrity: Integrity = "strict"
    exif_gps: Literal["keep", "strip"] = "keep"
    keep_rights: bool = False
    #: What is set for stages of your own, as texts.
    stage_settings: dict[str, dict[str, str]] = {}
    limits: Limits = field(default_factory=Limits)

    def format_of(self, spec: ThumbnailSpec) -> Format:
        return spec.format or self.thumbnail_format


def own_stages(stages: Iterable[str]) -> tuple[str, ...]:
    """Return those of the stages that are not in the default pipeline: somebody has added them."""
    return tuple(name for name in stages if name not in Options().stages)


class Rendition(Struct, frozen=True, kw_only=True):
    """A picture that a stage made: where its bytes are in the output blob, and what they are."""

    stage: str
    name: str
    width: int
    height: int
    offset: int
    size: int
    content_type: str = "image/jpeg"


class Report(Struct, frozen=True, kw_only=True):
    """What a worker found and made: facts by stage, renditions, and their cost.

    `timings_ms` is wall time by stage; `cpu_ms` is the process time of the whole task; `decodes` counts how often
    pixels were decoded from the source; `warnings` are findings that did not fail the photo.
    """

    width: int
    height: int
    format: str
    facts: dict[str, dict[str, Json]]
    renditions: tuple[Rendition, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    cpu_ms: float = 0.0
    decodes: int = 0
    peak_rss_bytes: int = 0
    warnings: tuple[str, ...] = ()


class Stored(Struct, frozen=True, kw_only=True):
    """A rendition that is in the object store."""

    rendition: Rendition
    key: str
    url: str


class Retry(Struct, frozen=True):
    """Try again after `delay_ms`; 0 means immediately."""

    delay_ms: int


class GiveUp(Struct, frozen=True):
    """No further attempt."""

    why: str


Decision = Retry | GiveUp


class Completed(Struct, frozen=True):
    """How a job's attempt ended: with success, and the return value as JSON text."""

    return_value: str


class Ended(Struct, frozen=True):
    """How a job's attempt ended: with an error, and a decision. `stack` is the entry for the job's trace."""

    decision: Decision
    code: str
    reason: str
    stack: str


class Event(Struct, frozen=True, kw_only=True):
    """One message for an event sink. Encodes to the contract's JSON as it stands."""

    id: str
    type: str
    timestamp: str
    data: dict[str, Json]
