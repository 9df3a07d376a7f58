"""A real worker process, driven over a real socket pair with real shared memory."""

from __future__ import annotations

import array
import io
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from fastproc.core.model import Limits, Options
from fastproc.ipc import blob, channel, launch, messages
from fastproc.ipc.messages import Done, Failed, FromWorker, Progress, Ready, Settings, Task
from tests import described, pictures

# At the end: the folder has a queue.py, which stands for a program there.
sys.path.append(str(Path(__file__).parents[2] / "bench"))

import verdicts

ANSWER_S = 30.0
FORMATS = ("jpeg", "png", "webp", "heic", "avif", "gif")


class Worker:
    """The supervisor's side, blocking and by hand."""

    def __init__(self, options: Options, command: list[str] | None = None) -> None:
        self.socket, theirs = channel.pair()
        with theirs:
            argv = command or launch.command(theirs.fileno(), Settings(options=options))
            self.process = subprocess.Popen(
                [arg.replace("FD", str(theirs.fileno())) for arg in argv] if command else argv,
                env=launch.ENVIRONMENT,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        self.socket.settimeout(ANSWER_S)
        self.lanes = blob.SlotLanes(0, source_bytes=64 << 20, output_bytes=64 << 20)
        self.progress: list[str] = []

    def receive(self) -> FromWorker | None:
        packet = self.socket.recv(messages.MAX_MESSAGE_BYTES)
        return messages.decode_from_worker(packet) if packet else None

    def ask(self, data: bytes, content_type: str | None = None) -> Done | Failed:
        lane = self.lanes.lend()
        lane.blob.view[: len(data)] = data
        self.send(lane, len(data), content_type)
        self.progress = []
        while isinstance(answer := self.receive(), Progress):
            if answer.stage != messages.GATE:
                self.progress.append(answer.stage)
        self.lanes.take_back(lane, len(data))
        assert isinstance(answer, Done | Failed), answer
        return answer

    def send(self, lane: blob.Lane, size: int, content_type: str | None = None) -> None:
        fresh = self.lanes.deliver(lane)
        task = Task(
            lane=lane.number, size=size, content_type=content_type, fresh=tuple(each.number for each in fresh)
        )
        rights = array.array("i", [each.blob.fd for each in fresh])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fresh else []
        self.socket.sendmsg([messages.encode(task)], ancillary)

    def pictures(self, done: Done) -> dict[str, Image.Image]:
        view = self.lanes.output.blob.view
        return {
            r.name: Image.open(io.BytesIO(bytes(view[r.offset : r.offset + r.size])))
            for r in done.report.renditions
        }

    def status(self, field: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(field)))

    def fds(self) -> int:
        """Open descriptors; 0 where only root may look: a worker is not dumpable, so its /proc is root's."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd")) if os.getuid() == 0 else 0

    def close(self) -> int:
        self.socket.close()
        try:
            return self.process.wait(ANSWER_S)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()
            self.lanes.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    started = Worker(Options(limits=Limits(formats=FORMATS)))
    try:
        yield started
    finally:
        started.close()


def test_a_worker_says_what_it_runs_on_before_it_takes_a_task(worker: Worker) -> None:
    ready = worker.receive()
    assert isinstance(ready, Ready)
    assert ready.encoders == {"thumbnails": "jpeg by jpegli", "optimization": "jpeg by jpegli"}
    # Every library that decodes, and none whose version nobody knows.
    named = {
        "libvips",
        "mozjpeg",
        "libpng",
        "libwebp",
        "libaom",
        "libheif (AVIF)",
        "libheif (HEIC)",
        "libde265",
        "lcms2",
    }
    assert named <= set(ready.versions)
    assert "unknown" not in ready.versions.values()


def test_failed_photos_leave_no_memory_behind(worker: Worker) -> None:
    """A cut progressive JPEG of 12 megapixels holds 34 MB of coefficients when it fails."""
    worker.receive()
    whole = pictures.jpeg(4000, 3000, progressive=True)
    cut = whole[: len(whole) * 2 // 3]
    sizes_kb = []
    for _ in range(200):
        failed = worker.ask(cut)
        assert isinstance(failed, Failed)
        assert failed.code == "FILE_CORRUPTED"
        sizes_kb.append(worker.status("VmRSS"))
    # Once, at any moment, malloc's second arena may come into use and keep the memory of one such photo.
    highest = list(itertools.accumulate(sizes_kb[10:], max, initial=max(sizes_kb[:10])))
    steps = [after - before for before, after in itertools.pairwise(highest)]
    assert max(steps) < 48 << 10, sizes_kb
    assert sum(steps) - max(steps) < 8 << 10, sizes_kb


#: A worker whose patience is short, in its jail.
SOON = "import sys; from fastproc.worker import main; main._QUIET_MS = 50; main.main(sys.argv)"


def test_a_worker_without_a_task_gives_its_memory_back_and_goes_on() -> None:
    options = Options(stages=("validation", "optimization"), optimize_threshold_bytes=0)
    settings = msgspec.json.encode(Settings(options=options)).decode()
    started, photo = (
        Worker(options, [sys.executable, "-I", "-c", SOON, "FD", settings]),
        pictures.jpeg(4000, 3000),
    )
    try:
        started.receive()
        ready_kb = started.status("VmRSS")
        for _ in range(2):
            assert isinstance(started.ask(photo), Done)
            # The copy's coefficients alone are 36 MB.
            assert started.status("VmHWM") > ready_kb + (36 << 10)
            deadline = time.monotonic() + ANSWER_S
            while (rss_kb := started.status("VmRSS")) > ready_kb + (16 << 10):
                assert time.monotonic() < deadline, f"{rss_kb} kB, and {ready_kb} when it was ready"
                time.sleep(0.02)
    finally:
        assert started.close() == 0


def test_a_worker_that_is_ready_holds_nothing_of_its_warm_up(worker: Worker) -> None:
    worker.receive()
    assert worker.status("VmHWM") - worker.status("VmRSS") > 4 << 10


def test_a_worker_loads_no_event_loop() -> None:
    program = "import sys; import fastproc.worker.main; print('asyncio' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-I", "-c", program]) == b"False\n"


def test_photos_of_every_format_are_processed_one_after_another_in_recycled_memory(worker: Worker) -> None:
    worker.receive()
    for make in (pictures.jpeg, pictures.png, pictures.webp, pictures.avif, pictures.gif):
        done = worker.ask(make(1000, 750))
        assert isinstance(done, Done), done
        assert worker.progress == list(Options().stages)
        shown = worker.pictures(done)
        assert {name: picture.size for name, picture in shown.items()} == {
            "thumb_sm": (150, 113),
            "thumb_md": (300, 225),
            "thumb_lg": (600, 450),
        }
        red, green, blue = shown["thumb_lg"].getpixel((20, 20))
        assert red > 150 > 80 > max(green, blue)


def test_a_photo_that_fails_leaves_the_worker_well(worker: Worker) -> None:
    worker.receive()
    assert worker.ask(pictures.jpeg()[:-400]) == Failed(
        code="FILE_CORRUPTED", message=ANY_TEXT, stage="validation"
    )
    assert worker.ask(b"<svg/>") == Failed(code="UNSUPPORTED_FORMAT", message=ANY_TEXT, stage="gate")
    mismatch = worker.ask(pictures.png(), "image/jpeg")
    assert isinstance(mismatch, Failed)
    assert mismatch.code == "MIME_MISMATCH"
    assert isinstance(worker.ask(pictures.jpeg(), "image/jpeg"), Done)


class _AnyText:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(other)

    def __hash__(self) -> int:
        return 0


ANY_TEXT: str = _AnyText()  # type: ignore[assignment]


def test_a_large_photo_is_optimised_into_shared_memory(worker: Worker) -> None:
    worker.receive()
    noise = os.urandom(1500 * 1100 * 3)
    data = pictures.encoded(Image.frombytes("RGB", (1500, 1100), noise), "JPEG", quality=97)
    assert len(data) > 2 << 20
    done = worker.ask(data)
    assert isinstance(done, Done)
    assert done.report.decodes == 1
    assert done.report.facts["optimization"]["optimized"]
    copy = worker.pictures(done)["optimized"]
    copy.load()
    assert copy.size == (1500, 1100)
    ends = [r.offset + r.size for r in done.report.renditions]
    assert [r.offset for r in done.report.renditions] == [0, *ends[:-1]]


def test_a_closed_channel_ends_the_worker_in_order() -> None:
    started = Worker(Options())
    started.receive()
    assert started.close() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_that_a_terminal_sends_to_both_is_the_supervisors_to_judge(
    worker: Worker, number: signal.Signals
) -> None:
    worker.receive()
    worker.process.send_signal(number)
    assert isinstance(worker.ask(pictures.jpeg()), Done)


def test_sigterm_ends_a_worker(worker: Worker) -> None:
    worker.receive()
    worker.process.terminate()
    assert worker.process.wait(ANSWER_S) == -signal.SIGTERM


def test_a_worker_dies_with_its_supervisor() -> None:
    """The supervisor is a process of its own here; its worker's socket is held open by this test all the while."""
    ours, theirs = channel.pair()
    settings = msgspec.json.encode(Settings(options=Options())).decode()
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-I', '-m', 'fastproc.worker.main', *sys.argv[1:]],"
        " pass_fds=(int(sys.argv[1]),), env={})\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with ours, theirs:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), settings],
            pass_fds=(theirs.fileno(),),
            stdout=subprocess.PIPE,
        )
        assert supervisor.stdout is not None
        with supervisor.stdout as lines:
            pid = int(lines.readline())
        ours.settimeout(ANSWER_S)
        assert isinstance(messages.decode_from_worker(ours.recv(messages.MAX_MESSAGE_BYTES)), Ready)
        supervisor.kill()
        supervisor.wait()
        deadline = time.monotonic() + 5
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_unknown_stage_ends_a_worker_before_it_is_ready() -> None:
    started = Worker(Options(stages=("nonsense",)))
    try:
        assert started.receive() is None
        assert started.process.wait(ANSWER_S) != 0
        assert started.process.stderr is not None
        assert b"nonsense" in started.process.stderr.read()
    finally:
        started.close()


def test_descriptors_and_memory_stay_flat(worker: Worker) -> None:
    worker.receive()
    mixed = [
        pictures.jpeg(3000, 2000),
        pictures.jpeg(3000, 2000, progressive=True),
        pictures.png(1500, 1000, "RGBA"),
        pictures.webp(1500, 1000),
        pictures.jpeg(800, 600)[:-300],
        b"nothing",
    ]
    for data in 8 * mixed:
        worker.ask(data)
    fds, before = worker.fds(), worker.status("VmRSS")
    for data in 20 * mixed:
        worker.ask(data)
    assert worker.fds() == fds
    # In kB. What malloc keeps goes up and down by 20 MB; a leak of one thumbnail's pixels a photo is 80 MB here.
    assert worker.status("VmRSS") - before < 40 << 10


SHARED_PHOTOS = pictures.SHARED / "photos"
needs_photos = pytest.mark.skipif(
    not SHARED_PHOTOS.is_dir(), reason="no ../shared/photos beside the checkout"
)


@needs_photos
def test_real_photos_of_every_odd_kind_end_as_they_should() -> None:
    wrong = {
        "corrupt_header.jpg": "FILE_CORRUPTED",
        "truncated.jpg": "FILE_CORRUPTED",
        "truncated.png": "FILE_CORRUPTED",
        "over_10000px.jpg": "IMAGE_TOO_LARGE",
        "display_p3.png": "IMAGE_TOO_SMALL",
        "png_16bit_trns.png": "IMAGE_TOO_SMALL",
    }
    started = Worker(Options())
    try:
        started.receive()
        for path in sorted((SHARED_PHOTOS / "odd").iterdir()):
            answer = started.ask(path.read_bytes())
            code = answer.code if isinstance(answer, Failed) else None
            assert code == wrong.get(path.name), f"{path.name}: {answer}"
    finally:
        started.close()


def test_what_describes_a_photo_is_read_and_kept_in_the_jail() -> None:
    """Codecs, digests and parsers that Python or OpenSSL load on first use would find no file there."""
    started = Worker(Options(optimize_threshold_bytes=0, optimize_min_saving_percent=-1000, keep_rights=True))
    records = described.dataset(5, b"by IPTC") + described.dataset(110, b"\x93Agency\x94")
    packet = described.xmp("<dc:title>by XMP</dc:title><dc:creator>Ann</dc:creator>")
    comment = b"JIS\0\0\0\0\0" + "東京".encode("iso2022_jp")
    photo = described.jpeg_with(
        described.app1_xmp(packet.decode().encode("utf-16")),
        described.app13(described.iptc(records, b"others")),
        data=pictures.jpeg(exif=pictures.camera_exif(camera={0x9286: comment})),
    )
    profile = described.raw_profile("exif", described.orientation(6))
    drawing = pictures.png_with(described.text_chunk(b"zTXt", b"Raw profile type exif", profile))
    try:
        started.receive()
        done = started.ask(photo)
        assert isinstance(done, Done), done
        facts = done.report.facts["metadata"]
        assert facts["exif"]["userComment"] == "東京"
        said = facts["descriptive"]
        assert (said["title"], said["creator"], said["credit"]) == ("by IPTC", ["Ann"], "“Agency”")
        assert b"<dc:creator>" in started.pictures(done)["optimized"].info["xmp"]
        done = started.ask(drawing)
        assert isinstance(done, Done), done
        assert (done.report.width, done.report.height) == (240, 320)
    finally:
        assert started.close() == 0


@needs_photos
def test_a_phones_heic_is_upright_in_srgb_and_with_its_exif() -> None:
    started = Worker(Options())
    try:
        started.receive()
        done = started.ask((SHARED_PHOTOS / "odd" / "iphone.heic").read_bytes(), "image/heic")
        assert isinstance(done, Done)
        facts = done.report.facts["metadata"]
        assert (facts["width"], facts["height"]) == (2566, 3313)
        assert facts["exif"]["model"] == "iPhone 11 Pro Max"
        assert started.pictures(done)["thumb_lg"].size == (465, 600)
    finally:
        started.close()


HOSTILE = pictures.SHARED / "hostile"
needs_hostile = pytest.mark.skipif(
    not (HOSTILE / "expected.tsv").is_file(), reason="no ../shared/hostile beside the checkout"
)


@needs_hostile
def test_every_hostile_file_gets_its_verdict_and_none_kills_the_worker() -> None:
    started = Worker(Options(limits=Limits(formats=FORMATS, min_side_px=1, max_side_px=32_767)))
    wrong = []
    try:
        started.receive()
        for name, verdict in verdicts.verdicts(HOSTILE).items():
            data = (HOSTILE / name).read_bytes()
            if len(data) > Limits().max_source_bytes:
                continue
            answer = started.ask(data)
            code = answer.code if isinstance(answer, Failed) else ""
            if code not in verdict.wanted:
                wrong.append(f"{name}: {verdict}, but {answer}")
    finally:
        started.close()
    assert not wrong, "\n".join(wrong)


@needs_hostile
def test_what_is_said_to_differ_from_the_list_of_hostile_files_does() -> None:
    found = verdicts.verdicts(HOSTILE)
    assert [name for name in verdicts.DIFFERENT if found[name].wanted <= found[name].listed] == []
