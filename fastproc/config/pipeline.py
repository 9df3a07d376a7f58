"""Settings of the pipeline: what is made of a photo, and which photos are accepted."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var
from fastproc.core.model import Format, Integrity, Limits, Options, ThumbnailDecode, ThumbnailSpec
from fastproc.core.record import METADATA_FIELDS
from fastproc.core.stage_settings import StageSettings

#: WebP stores a side in 14 bits; libvips accepts one pixel more for AVIF.
MAX_SIDE_OUTSIDE_JPEG_PX = 16_383


class PipelineConfig(Struct, frozen=True, kw_only=True):
    """What is made of a photo, and which photos are accepted."""

    stages: Annotated[tuple[str, ...], var("PIPELINE", "stages in order", extra={"parse": values.names})] = (
        Options().stages
    )
    thumbnails: Annotated[
        tuple[ThumbnailSpec, ...],
        var(
            "THUMBNAILS",
            "`name:side:quality` or `name:side:quality:format`, separated by commas; quality on mozjpeg's scale"
            " for every format",
            extra={"parse": values.thumbnails},
        ),
    ] = Options().thumbnails
    thumbnail_format: Annotated[
        Format, var("THUMBNAIL_FORMAT", "`jpeg`, `webp` or `avif`, for thumbnails that name no format")
    ] = "jpeg"
    thumbnail_decode: Annotated[
        ThumbnailDecode,
        var(
            "THUMBNAIL_DECODE",
            "how far a JPEG is reduced while it is decoded for thumbnails: `fast`, as far as possible; `balanced`,"
            " where hardly anything is lost; `best`, where nothing can be seen",
        ),
    ] = "balanced"
    optimize_threshold_bytes: Annotated[
        int, var("OPTIMIZE_THRESHOLD_BYTES", "photos larger than this get an optimised copy", ge=0)
    ] = 2 << 20
    optimize_quality: Annotated[
        int, var("OPTIMIZE_QUALITY", "its quality on mozjpeg's scale", ge=1, le=100)
    ] = 85
    optimize_format: Annotated[Format, var("OPTIMIZE_FORMAT", "its format: `jpeg`, `webp` or `avif`")] = (
        "jpeg"
    )
    optimize_min_saving_percent: Annotated[
        float, var("OPTIMIZE_MIN_SAVING_PERCENT", "the copy is kept if it saves more than this", ge=0, lt=100)
    ] = 10.0
    gain_map: Annotated[
        Literal["keep", "drop"],
        var(
            "GAIN_MAP",
            "`keep` or `drop` the HDR gain map of a JPEG in its optimised copy, where that is a JPEG too",
        ),
    ] = "keep"
    integrity: Annotated[
        Integrity,
        var(
            "INTEGRITY",
            "`strict`: truncated and damaged photos fail; `truncated`: truncated photos pass with the part that is"
            " there and a warning; `lenient`: damaged photos pass too, if they can be decoded",
        ),
    ] = "strict"
    exif_gps: Annotated[
        Literal["keep", "strip"],
        var("EXIF_GPS", "`keep` or `strip` the position where the photo was taken, in row and events"),
    ] = "keep"
    keep_rights: Annotated[
        bool,
        var(
            "KEEP_RIGHTS",
            "`true` writes creator, copyright, credit and usage terms of the photo into its optimised copy, as XMP",
        ),
    ] = False
    formats: Annotated[
        tuple[str, ...],
        var(
            "ALLOWED_FORMATS",
            "formats that are processed; `gif`, `raw` (a camera's raw files, by their JPEG preview) and `jxl` (where"
            " libvips can read it) may be added",
            extra={"parse": values.formats},
        ),
    ] = Limits().formats
    min_side_px: Annotated[int, var("MIN_SIDE_PX", "shortest side allowed", ge=1)] = 100
    max_side_px: Annotated[int, var("MAX_SIDE_PX", "longest side allowed", ge=1, le=65535)] = 10_000
    max_pixels: Annotated[int, var("MAX_PIXELS", "pixels allowed", ge=1)] = 100_000_000
    max_source_bytes: Annotated[int, var("MAX_SOURCE_BYTES", "bytes allowed", ge=1024, le=2 << 30)] = 64 << 20
    max_decoded_bytes: Annotated[
        int, var("MAX_DECODED_BYTES", "estimated memory of a decode allowed", ge=1 << 20)
    ] = 1_500_000_000
    max_scans: Annotated[int, var("MAX_SCANS", "scans of a progressive JPEG allowed", ge=1)] = 64
    max_frames: Annotated[int, var("MAX_FRAMES", "frames of an animation allowed", ge=1)] = 5000
    max_exif_bytes: Annotated[
        int, var("MAX_EXIF_BYTES", "bytes of EXIF that are read; the rest is ignored", ge=0)
    ] = 1 << 20
    max_icc_bytes: Annotated[int, var("MAX_ICC_BYTES", "bytes of a colour profile allowed", ge=0)] = 4 << 20
    #: STAGE_<NAME>_*: which they are is known to the stages alone, so they have no row in the tables of settings.
    stage_settings: StageSettings = {}

    def options(self) -> Options:
        """Return the same settings as the worker's Options."""
        limits = {name: getattr(self, name) for name in Limits.__struct_fields__}
        own = {name: getattr(self, name) for name in Options.__struct_fields__ if name != "limits"}
        return Options(**own, limits=Limits(**limits))

    def conflicts(self) -> list[str]:
        """Return the problems between these settings, each beginning with its variable."""
        found = []
        if self.min_side_px > self.max_side_px:
            found.append(f"MIN_SIDE_PX: {self.min_side_px} is more than MAX_SIDE_PX ({self.max_side_px})")
        if self.optimize_format != "jpeg" and self.max_side_px > MAX_SIDE_OUTSIDE_JPEG_PX:
            found.append(
                f"OPTIMIZE_FORMAT: {self.optimize_format} can have sides of at most {MAX_SIDE_OUTSIDE_JPEG_PX} px,"
                f" but MAX_SIDE_PX is {self.max_side_px}"
            )
        if self.stages[:1] != ("validation",):
            found.append("PIPELINE: the first stage must be validation, because it protects the others")
        twice = [name for name, count in Counter(self.stages).items() if count > 1]
        found += [f"PIPELINE: {name} is in it more than once" for name in twice]
        found += [
            f"PIPELINE: a stage cannot be called {name!r}: its facts would take the place of metadata.{name}"
            for name in self.stages
            if name in METADATA_FIELDS
        ]
        return found
