"""What a raw file's container says of the preview that is processed in its place: orientation, EXIF, what to warn of.

Rule 1: the preview is a JPEG and is decoded as one; nothing here looks at pixels.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import structs

from fastproc.core.gate.raw import exif
from fastproc.core.gate.raw.preview import contents
from fastproc.core.header import Header, Preview
from fastproc.worker.vips.opening import Traits

#: A preview with less than this share of the sensor's longer side is told: some cameras have no larger one.
_SMALL: Final = 0.5


def as_jpeg(header: Header, preview: Preview, data: memoryview) -> tuple[Header, memoryview]:
    """Return the header and the bytes of the preview, as those of a file of its own."""
    jpeg = structs.replace(header, format="jpeg", preview=None, whole=True)
    return jpeg, data[preview.offset : preview.offset + preview.size]


def as_container_says(traits: Traits, preview: Preview, data: memoryview) -> Traits:
    """Return the preview's traits, with orientation, EXIF and XMP of the raw file `data` where it has them."""
    found, own = contents(data), traits.exif
    if found and (found.exif or not own):
        own = exif.block(found) or own
    packet = exif.xmp(found) if found else None
    return structs.replace(
        traits, orientation=preview.orientation or traits.orientation, exif=own, xmp=packet or traits.xmp
    )


def facts(preview: Preview, width: int, height: int) -> dict[str, Any]:
    """Return what the metadata says of the preview, whose sides as displayed are given."""
    sensor = dict(zip(("width", "height"), preview.sensor, strict=True))
    return {
        "container": preview.container,
        "width": width,
        "height": height,
        "size": preview.size,
        "sensor": sensor if all(sensor.values()) else None,
    }


def warnings(header: Header, preview: Preview) -> list[str]:
    """Return what people should know of the preview."""
    if max(header.width, header.height) >= _SMALL * max(preview.sensor):
        return []
    wide, high = preview.sensor
    return [f"the largest preview has {header.width}x{header.height} pixels, the sensor {wide}x{high}"]
