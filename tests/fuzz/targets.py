"""Every reader of untrusted bytes, as a plain function of bytes: it returns, or the fuzzer has found something.

`TARGETS` has a function and its seeds for each; `test_targets.py` mutates the seeds a little in every run of the suite,
`run.py` for as long as you want, guided by coverage. The corpus is generated, not stored; a finding becomes a seed.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from fastproc.bullmq import decode
from fastproc.core import naming, record
from fastproc.core.errors import ImageError
from fastproc.core.gate import multi_picture
from fastproc.core.gate.judge import format_of, glance, judge
from fastproc.core.gate.raw import exif as raw_exif
from fastproc.core.gate.raw import preview
from fastproc.core.gate.tiles import tiles
from fastproc.core.model import Job, Limits, Options, Rendition, Report, Stored
from fastproc.ipc.messages import Done, Failed, FromWorker, Progress, Ready, decode_from_worker, encode
from fastproc.supervisor.workers.trust import Distrust, failure_of, renditions_of
from fastproc.worker import iim, jpeg_segments
from fastproc.worker.colour import profile
from fastproc.worker.colour.conversion import decide
from fastproc.worker.description import Description
from fastproc.worker.exif import fields as exif
from fastproc.worker.gain_map import dialects, keeping, writing, xmp
from fastproc.worker.gain_map.numbers import NotKept, gains
from fastproc.worker.vips.opening import Traits
from fastproc.worker.xmp import fields as xmp_fields
from fastproc.worker.xmp.writing import packet, rights
from tests import described, gain_maps, heic, pictures, raws

ALL = ("jpeg", "png", "webp", "heic", "avif", "gif", "raw", "jxl")
LIMITS = Limits(formats=ALL, min_side_px=1, max_side_px=32_767)
STAGES = ("validation", "metadata", "thumbnails", "optimization")
OUTPUT = memoryview(bytes(range(256)) * 16)
JOB = Job(id="1", name="n", token="t", photo_id="p", s3_key="k", bucket="b", timestamp_ms=1)
DEFAULTS = decode.Defaults(bucket="b", buckets=("b", "c"), attempts=3)
#: `exif.fields` rule 2: thirteen texts of 1,000 characters, whatever the block.
MAX_EXIF_JSON_BYTES = 64 << 10
#: Of an input as short as the fuzzer makes them.
MAX_DESCRIBED_JSON_BYTES = 64 << 10
NO_TRAITS = Traits(width=1, height=1, space="srgb", channels=3, depth="uchar", has_alpha=False)
SMALL = pictures.jpeg(16, 12)
RIGHTS = ("creator", "copyright", "credit", "usageTerms", "webStatement")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def header(data: bytes) -> None:
    """The gate: a Header within the limits or an ImageError, the same for every kind of buffer."""
    found = []
    for buffer in (data, memoryview(data)):
        try:
            read = judge(buffer, LIMITS)
        except ImageError as error:
            found.append(error.reason)
            continue
        assert read.format in ALL
        assert 1 <= read.width <= LIMITS.max_side_px
        assert 1 <= read.height <= LIMITS.max_side_px
        assert read.width * read.height <= LIMITS.max_pixels
        assert 0 <= read.decoded_bytes <= LIMITS.max_decoded_bytes
        assert read.frames >= 1
        assert read.scans >= 1
        if read.format == "avif":
            assert sum(map(len, tiles(memoryview(buffer)))) <= len(data) + 1_000_000
        decide(None, read.colour, grey=read.grey)
        found.append(repr(read))
    assert found[0] == found[1]


def colour_profile(data: bytes) -> None:
    """ICC profiles: recognised or left to the colour engine; never more than bytes in, a decision out."""
    found = decide(data, None)
    assert (found.profile is None) == (profile.is_srgb(data) or found.hdr is not None or not data)
    profile.bands(data)
    profile.to_srgb(data)


def raw(data: bytes) -> None:
    """A raw file: a preview inside the file, of a kind that is known; a block of EXIF that is bounded and read."""
    try:
        found = preview.contents(data)
        read = glance(data, LIMITS)
    except (ImageError, IndexError, struct.error):
        return
    if found is None or read.preview is None:
        return
    assert re.fullmatch(r"[a-z0-9]{2,4}", found.kind)
    assert 0 <= read.preview.offset < read.preview.offset + read.preview.size <= len(data)
    assert read.preview.orientation in (None, *range(1, 9))
    block = raw_exif.block(found) or b""
    assert len(block) <= raw_exif.MAX_BLOCK_BYTES
    exif_block(block)


def exif_block(data: bytes) -> None:
    """EXIF: a few kilobytes of JSON that every parser accepts, without control characters."""
    fields = exif.parse(data)
    text = json.dumps(fields, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) <= MAX_EXIF_JSON_BYTES
    assert all(not _CONTROL.search(value) for value in fields.values() if isinstance(value, str))
    assert not {"gps", "gpsDateTime"} & set(exif.parse(data, with_position=False))


def xmp_packet(data: bytes) -> None:
    """XMP: named fields in their types, whatever the packet."""
    fields, fault = xmp_fields.parse(data)
    json.dumps(fields, allow_nan=False)
    assert fault == "" or fault.isprintable()
    assert all(not _CONTROL.search(text) for text in _texts(fields))
    assert fields.get("rating", 0) in range(-1, 6)
    assert not {"gps", "gpsDateTime"} & set(xmp_fields.parse(data, with_position=False)[0])


def iptc(data: bytes) -> None:
    """IPTC, with and without Photoshop's resources around it."""
    for resources in (data, described.resource(0x0404, data)):
        fields, changed = iim.parse(resources)
        assert changed in (False, True)
        assert all(not _CONTROL.search(text) for text in _texts(fields))


def file(data: bytes) -> None:
    """A whole file: what describes the photo is bounded JSON, and can be written into a copy and read again."""
    format = format_of(data) or "jpeg"
    for policy in ("keep", "strip"):
        options = Options(exif_gps=policy)
        warnings: list[str] = []
        says = Description(memoryview(data), format, NO_TRAITS, options, warnings.append)
        assert says.orientation in (None, *range(1, 9))
        text = json.dumps([says.fields, says.exif], allow_nan=False, ensure_ascii=False)
        assert len(text.encode()) <= MAX_DESCRIBED_JSON_BYTES
        assert policy == "keep" or not re.search('"(gps|gpsDateTime)":', text)
        assert all(not _CONTROL.search(each) for each in (*_texts(says.fields), *warnings))
        assert len(warnings) < 50
        if said := rights(says.fields):
            kept = {name: says.fields[name] for name in RIGHTS if name in says.fields}
            assert xmp_fields.parse(packet([said])) == (kept, "")
            jpeg_segments.xmp([said])


def _texts(fields: dict[str, Any]) -> Iterable[str]:
    for value in fields.values():
        yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))


def gain_map(data: bytes) -> None:
    """A JPEG's gain map: found with numbers that can be written, or none; whatever is wrong is a NotKept."""
    view = memoryview(data)
    places = [*multi_picture.indexed(view), *multi_picture.searched(view, 2)]
    assert all(0 <= start < end <= len(data) for start, end in places)
    assert len(places) <= 2 * multi_picture.MAX_PICTURES
    xmp.properties(data)
    try:
        judge(view, LIMITS)
        (start, end), meaning = keeping.find(view, data[20:])
    except (ImageError, NotKept):
        return
    assert data[start : start + 3] == b"\xff\xd8\xff"
    assert end <= len(data)
    assert meaning.table is None or len(meaning.table) == 256
    assert all(0 < gain < math.inf for channel in meaning.gain.channels for gain in gains(channel))
    written = writing.joined(b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xd9", meaning.gain)
    again = dialects.from_adobe(xmp.properties(written[written.rindex(b"<x:xmpmeta") :]))
    assert abs(again.alternate_headroom - meaning.gain.alternate_headroom) < 1e-6
    at = written.rindex(gain_maps.ISO) + len(gain_maps.ISO)
    assert len(dialects.from_iso(written[at:-2]).channels) == len(meaning.gain.channels)


def message(data: bytes) -> None:
    """A worker's packet: not a message, or a distrusted one, or one that gives only safe values."""
    try:
        received = decode_from_worker(data)
    except (ValueError, RecursionError):
        return  # For the channel this is a ProtocolError.
    try:
        if isinstance(received, Failed):
            reason = failure_of(received, STAGES).reason
            assert not _CONTROL.search(reason)
        elif isinstance(received, Done):
            _check_trusted(received.report, renditions_of(received.report, OUTPUT, STAGES))
    except Distrust:
        return


def report(data: bytes) -> None:
    """The same from JSON, which survives mutation better than MessagePack, so that more passes the decoder."""
    try:
        packet = encode(msgspec.json.decode(data, type=FromWorker))
    except (ValueError, RecursionError, OverflowError):
        return  # Not a message, or too large for a packet.
    message(packet)


def _check_trusted(report: Report, bodies: tuple[bytes, ...]) -> None:
    """What the supervisor makes from a report that it trusts."""
    assert all(len(body) == r.size for body, r in zip(bodies, report.renditions, strict=True))
    assert sum(map(len, bodies)) <= len(OUTPUT)
    assert all(re.fullmatch(r"image/(jpeg|webp|avif|png|gif|jxl)", r.content_type) for r in report.renditions)
    assert all(r.width >= 1 and r.height >= 1 and r.offset >= 0 for r in report.renditions)
    stored = [
        Stored(rendition=r, key=naming.object_key(r, JOB.photo_id, JOB.timestamp_ms), url="u")
        for r in report.renditions
    ]
    assert len({each.key for each in stored}) == len(stored)
    assert all(re.fullmatch(r"(thumbnails|photos)(/[A-Za-z0-9_.-]{1,200}){1,3}", each.key) for each in stored)
    for value in (
        record.return_value(JOB, report, stored, 1),
        record.row_metadata(report, stored),
        record.completed_data(JOB, report, stored, 1),
        [record.upload_metadata(JOB, report, r) for r in report.renditions],
    ):
        json.loads(text := msgspec.json.encode(value))
        assert b"\\u0000" not in text  # PostgreSQL's JSON refuses it.


def job(data: bytes) -> None:
    """A job's hash, one line for each field: nothing raises, and a job that may run has only allowed names."""
    names = (b"data", b"opts", b"timestamp", b"stacktrace", b"failedReason", b"atm", b"delay", b"defa")
    fields = dict(zip((name.decode() for name in names), data.split(b"\n"), strict=False))
    found = decode.job("1", "t", {"timestamp": b"1", **fields}, DEFAULTS)
    assert found.attempt >= 1
    assert found.attempts >= 1
    if found.fault is None:
        assert naming.SAFE_NAME.fullmatch(found.photo_id)
        assert found.bucket in DEFAULTS.buckets
        assert not {".", ".."} & set(re.split(r"[/\\]", found.s3_key))
        assert not _CONTROL.search(found.s3_key + str(found.client_id) + str(found.session_id))
        assert len(found.s3_key.encode()) <= 1024


def _headers() -> Iterable[bytes]:
    yield pictures.jpeg(32, 24)
    yield pictures.jpeg(32, 24, progressive=True, exif=pictures.camera_exif())
    yield pictures.png(32, 24)
    yield pictures.png_with(pictures.png_chunk(b"acTL", b"\0\0\0\5\0\0\0\0"))
    yield pictures.webp(32, 24)
    yield pictures.webp(32, 24, exif=pictures.camera_exif())
    yield pictures.animated("webp", 3, 16, 16)
    yield pictures.gif(16, 16)
    yield pictures.avif(32, 24)
    yield pictures.heif(320, 240)
    yield pictures.heif(320, 240, brand=b"mif1", items=3)
    yield heic.FILES["rgb 8"]
    yield heic.assembled(data=[heic.coded()] * 3, columns=3)
    whole = pictures.avif(heic.WIDTH, heic.HEIGHT)
    yield heic.avif_grid([heic.avif_data(whole)] * 2, whole, columns=2)
    yield pictures.png_with(
        *(
            pictures.png_chunk(kind, bytes(size))
            for kind, size in ((b"cICP", 4), (b"gAMA", 4), (b"cHRM", 32))
        ),
        pictures.png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(999))),
    )
    yield b"\xff\x0a" + bytes(16)
    yield pictures.box(b"JXL ", b"\r\n\x87\n") + pictures.box(b"jxlp", bytes(4), b"\xff\x0a", bytes(16))
    yield raws.cr2(pictures.jpeg(32, 24))
    yield raws.raf(pictures.jpeg(32, 24))
    yield pictures.scan_bomb(70)
    yield pictures.jpeg_saying(30_000, 30_000)


def _profiles() -> Iterable[bytes]:
    yield pictures.profile("srgb")
    yield pictures.profile("p3")
    yield pictures.matrix_profile(pictures.ADOBE_RGB, 2.2)
    yield pictures.matrix_profile((), 1.0)
    named = pictures.matrix_profile(pictures.ADOBE_RGB, 2.2)
    yield named[:132] + b"cicp" + named[136:]


def _raws() -> Iterable[bytes]:
    small = pictures.jpeg(32, 24)
    yield from (make(small) for make in raws.ALL.values())
    yield raws.dng(small, 6, order=">")
    yield raws.old_nef(small)
    yield raws.orf(small, note="om")
    yield raws.orf(small, note="old")
    yield raws.cr3(small, co64=False)


def _blocks() -> Iterable[bytes]:
    block = pictures.camera_exif()
    yield block
    yield b"Exif\0\0" + block
    yield pictures.tiff_block([(0x0112, 3, 1, b"\0\6\0\0")], order=">")
    for number in (math.nan, math.inf, 1e300):
        yield pictures.tiff_block([(0x0112, 12, 1, struct.pack("<I", 26))], struct.pack("<d", number))


def _gain_maps() -> Iterable[bytes]:
    photo, second = pictures.jpeg(32, 24), gain_maps.a_map(16, 12)
    yield gain_maps.ultra_hdr(photo, second)
    yield gain_maps.ultra_hdr(photo, second, gain_maps.iso(), film=bytes(40))
    yield gain_maps.ultra_hdr(photo, second, gain_maps.iso(channels=[gain_maps.CHANNEL] * 3, denominator=64))
    yield gain_maps.ultra_hdr(
        photo, second, gain_maps.adobe({n: [v] * 3 for n, v in gain_maps.NUMBERS.items()})
    )
    yield gain_maps.apple(photo, second, headroom="4", order="<")
    yield gain_maps.apple(pictures.jpeg(32, 24, exif=gain_maps.maker_note((1, 1), (1, 99))), second)


def _messages() -> Iterable[bytes]:
    renditions = tuple(
        Rendition(stage="thumbnails", name=f"t{n}", width=1, height=1, offset=n, size=9) for n in range(2)
    )
    copy = Rendition(stage="optimization", name="optimized", width=1, height=1, offset=0, size=9)
    facts = {"metadata": {"a": 1, "exif": {"b": [1.5, None, True, "x"]}}, "optimization": {"savings": 1}}
    report = Report(width=2, height=3, format="jpeg", facts=facts, renditions=(*renditions, copy))
    yield encode(Done(report=report))
    yield encode(
        Done(report=msgspec.structs.replace(report, timings_ms={"metadata": 1.5}, warnings=("early",)))
    )
    # What no healthy worker sends, one fault each.
    for lie in (
        {"offset": len(OUTPUT) - 8},
        {"offset": -1},
        {"size": -1},
        {"size": 1 << 40},
        {"name": "../t"},
        {"name": "t\n"},
        {"content_type": "image/svg+xml"},
        {"stage": "other"},
        {"width": 0},
    ):
        yield encode(
            Done(
                report=msgspec.structs.replace(
                    report, renditions=(msgspec.structs.replace(renditions[0], **lie),)
                )
            )
        )
    for wrong in (math.nan, 1 << 60, "\0", b"bytes", {"k" * 200: 1}):
        yield encode(Done(report=msgspec.structs.replace(report, facts={"metadata": {"a": wrong}})))
    yield encode(Failed(code="POISON_PHOTO", message="x", stage="gate"))
    yield encode(Failed(code="FILE_CORRUPTED", message="x\ninjected", stage="gate"))
    yield encode(Failed(code="FILE_CORRUPTED", message="it is cut short", stage="gate"))
    yield encode(Failed(code="PROCESSING_ERROR", message="x", stage="thumbnails"))
    yield encode(Progress(stage="metadata"))
    yield encode(Ready(encoders={"jpeg": "jpegli"}, versions={"libvips": "8.18"}, unprotected=("x",)))


def _reports() -> Iterable[bytes]:
    return (msgspec.json.encode(decode_from_worker(packet)) for packet in _messages())


def _jobs() -> Iterable[bytes]:
    data = {"photoId": "p-1", "s3Key": "photos/a.jpg", "bucket": "c", "clientId": 7, "sessionId": "s"}
    options = {
        "attempts": 3,
        "backoff": {"type": "exponential", "delay": 5, "jitter": 0.5},
        "lifo": True,
        "kl": 2,
    }
    keep = {"removeOnComplete": {"age": 5, "count": 2, "limit": 9}, "removeOnFail": 7, "stackTraceLimit": 3}
    yield json.dumps(data).encode()
    yield b"\n".join((json.dumps(data).encode(), json.dumps(options | keep).encode(), b"17", b'["x", "y"]'))
    for wrong in (
        {"s3Key": "a/../b"},
        {"s3Key": "a\\..\\b"},
        {"s3Key": "a\nb"},
        {"s3Key": "k" * 1025},
        {"bucket": "d"},
        {"bucket": "c/../d"},
        {"photoId": "p/q"},
        {"clientId": "\u2028"},
    ):
        yield json.dumps(data | wrong).encode()
    yield b'{"photoId":"../x","s3Key":"a/../b"}\n{}\n1\n[]\nWORKER_CRASHED: x\n2\n0\nstalled'


def _packets() -> Iterable[bytes]:
    region = '<rdf:li rdf:parseType="Resource"><mwg-rs:Type>Face</mwg-rs:Type></rdf:li>'
    place = "<Iptc4xmpExt:City>C</Iptc4xmpExt:City>"
    packet = described.xmp(
        described.alternatives("dc:title", "T &lt;&#233;")
        + described.listed("dc:creator", "A", "B", kind="Seq")
        + f"<mwg-rs:Regions><rdf:Description><mwg-rs:RegionList><rdf:Bag>{region}</rdf:Bag></mwg-rs:RegionList>"
        "</rdf:Description></mwg-rs:Regions>"
        + f"<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li>{place}</rdf:li></rdf:Bag></Iptc4xmpExt:LocationShown>",
        'xmp:Rating="3" photoshop:DateCreated="2019-05-04T10:11:12Z" exif:GPSLatitude="48,30.6N"'
        ' exif:GPSLongitude="2,30.6E" exif:GPSTimeStamp="2024-02-29T16:45:09Z" tiff:Orientation="6"',
    )
    yield packet
    yield packet.decode().encode("utf-16")
    yield described.xmp(
        '<q:rights xmlns:q="http://purl.org/dc/elements/1.1/" q:value="x"/><dc:title rdf:value="y"/>'
    )
    yield b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + described.xmp("<dc:title>&a;</dc:title>")


def _records() -> Iterable[bytes]:
    records = described.UTF_8 + b"".join(
        described.dataset(number, text)
        for number, text in (
            (5, b"T"),
            (25, b"k"),
            (25, b"l"),
            (55, b"20240229"),
            (60, b"134509-0300"),
            (80, b"A"),
        )
    )
    yield records
    yield described.iptc(records, records)
    yield described.iptc(records, b"others")
    yield struct.pack(">BBBHI", 0x1C, 2, 120, 0x8004, 3) + b"abc"


def _files() -> Iterable[bytes]:
    packet, records = next(iter(_packets())), next(iter(_records()))
    profile = described.raw_profile("exif", b"Exif\0\0" + described.orientation(6))
    part = b"http://ns.adobe.com/xmp/extension/\0" + bytes(32) + struct.pack(">II", 3, 0) + b"abc"
    small = {"width": 16, "height": 12}
    yield described.jpeg_with(
        described.app1_xmp(packet),
        described.app13(described.iptc(records)),
        described.segment(0xE1, part),
        described.app11(described.jumbf()),
        data=SMALL,
    )
    yield described.png_before_end(
        described.text_chunk(b"zTXt", b"Raw profile type exif", profile),
        described.text_chunk(b"iTXt", b"XML:com.adobe.xmp", packet),
        pictures.png_chunk(b"eXIf", pictures.camera_exif()[6:]),
        data=pictures.png(**small),
    )
    yield described.webp_with((b"XMP ", packet), (b"C2PA", described.jumbf()), data=pictures.webp(**small))
    yield described.gif_with(b"XMP DataXMP", packet)
    yield pictures.avif(**small) + described.jumbf()


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterable[bytes]]]] = {
    "header": (header, _headers),
    "colour-profile": (colour_profile, _profiles),
    "raw": (raw, _raws),
    "exif": (exif_block, _blocks),
    "gain-map": (gain_map, _gain_maps),
    "xmp": (xmp_packet, _packets),
    "iptc": (iptc, _records),
    "file": (file, _files),
    "message": (message, _messages),
    "report": (report, _reports),
    "job": (job, _jobs),
}
