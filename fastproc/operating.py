"""The operator's desk of one supervisor: puts together what its page shows, and does what is ordered there.

Rule 1: each part has a deadline of its own: one that does not answer is a problem in words, and holds up no other.
Rule 2: what changes slowly and costs something (failures by code, the quarantine's list) is asked less often.
Rule 3: before the parts are started the desk says that the service starts, and why it does not get on.
Satisfies `desk.errands.OwnDesk`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from fastproc import __version__, replaying
from fastproc.backends import factories
from fastproc.config.host import host_name
from fastproc.config.settings import Config, shown
from fastproc.core.acts import Act, Outcome, Replay
from fastproc.core.errors import FastprocError, FleetHalted, QueueUnavailable
from fastproc.core.evidence import Evidence
from fastproc.core.failures import Failure
from fastproc.core.job_view import Found, JobRow
from fastproc.core.scene import Verdict, with_backlog
from fastproc.core.snapshot import Snapshot
from fastproc.core.verdict import verdicts
from fastproc.core.view import KeptPhoto, QuarantineNow, View, failed_codes, judged, together
from fastproc.desk.parts import Orders, Parts
from fastproc.desk.port import Rules
from fastproc.supervisor.failures import Failures
from fastproc.supervisor.ports import ObjectStore
from fastproc.supervisor.readiness import Readiness

T = TypeVar("T")

#: Longest wait for a part of the view, and for a look-up.
ANSWER_S: Final = 1.0
FIND_S: Final = 8.0
#: How old failures by code and the quarantine's list may be: services write the first every 5 s.
OLD_S: Final = 5.0
#: Photos of the quarantine that are shown.
MAX_KEPT: Final = 20


class NotYet(FastprocError):
    """The service is starting: it cannot do this yet."""


def rules(config: Config, origins: Mapping[str, str]) -> Rules:
    """Return what the page gets of the settings. `origins`: where each comes from (`config.settings.origins`)."""
    return Rules(
        host=host_name(),
        token=config.http.admin_token,
        names=config.http.names,
        pictures=factories.picture_origins(config),
        settings=shown(config, origins),
        about={"version": __version__, "queue": f"{config.queue.prefix}:{config.queue.name}"},
    )


class Operating:
    """One supervisor's desk, closed until `open`."""

    def __init__(self, config: Config, readiness: Readiness) -> None:
        self._config, self._readiness = config, readiness
        self._parts: Parts | None = None
        self._kept: dict[str, tuple[float, Any]] = {}
        self._replaying = asyncio.Lock()

    def open(
        self, orders: Orders, gather: Callable[[], Snapshot], objects: ObjectStore, failures: Failures
    ) -> None:
        """The service serves: these are asked from now on."""
        vault = factories.vault(self._config.quarantine, objects)
        self._parts = Parts(orders=orders, gather=gather, objects=objects, failures=failures, vault=vault)

    def own(self) -> Snapshot:
        """Return how this supervisor does. Raises NotYet."""
        return self._started().gather()

    async def view(self) -> View:
        """Return how the service does."""
        if self._parts is None:
            return self._starting()
        parts, problems = self._parts, list[str]()
        own = parts.gather()
        queue, hosts, failures, quarantine = await asyncio.gather(
            self._asked("the queue", parts.orders.now(), None, problems),
            self._asked("other hosts", parts.orders.hosts(), list[Snapshot](), problems),
            self._asked(
                "failures by code", self._seldom("failures", parts.failures.shared), list[Failure](), problems
            ),
            self._asked("quarantine", self._seldom("kept", self._quarantine), QuarantineNow(), problems),
        )
        at_ms = _wall_ms()
        queue = with_backlog(queue, hosts, at_ms) if queue else None
        view = View(
            host=own.host,
            at_ms=at_ms,
            verdict=Verdict("warn", "", ""),
            queue=queue,
            hosts=tuple(hosts),
            failures=failed_codes(failures),
            quarantine=quarantine,
            problems=tuple(dict.fromkeys(problems)),
        )
        view = together(view, [own])
        return judged(view, verdicts(view.hosts, queue, failures, now_ms=view.at_ms))

    async def find(self, text: str) -> Found:
        """Look a job up. Raises FastprocError."""
        return await _within(FIND_S, self._started().orders.find(text))

    async def jobs(self, state: str, code: str, limit: int) -> Sequence[JobRow]:
        """Return jobs. Raises FastprocError."""
        return await _within(FIND_S, self._started().orders.jobs(state, code, limit))

    async def count(self, code: str) -> int:
        """Return how many failed jobs have the code now. Raises FastprocError."""
        return await _within(FIND_S, self._started().orders.count(code))

    async def act(self, act: Act, by: str) -> Outcome:
        """Do what the operator orders. Raises FastprocError."""
        parts = self._started()
        if isinstance(act, Replay):
            return await self._replay(parts, act.id)
        return await parts.orders.act(act, by)

    async def links(self, bucket: str, key: str) -> Sequence[str]:
        """Return addresses that show an object. Raises FastprocError."""
        buckets = self._config.s3.buckets
        bucket = bucket or self._config.s3.bucket
        if bucket not in buckets:
            raise FastprocError(f"bucket {bucket!r} is not in ALLOWED_BUCKETS")
        return await self._started().objects.links(bucket, key)

    async def _replay(self, parts: Parts, id: str) -> Outcome:
        if parts.vault is None:
            return Outcome(ok=False, text="QUARANTINE is not set: no photo is kept")
        if self._replaying.locked():
            return Outcome(ok=False, text="another photo is replayed just now: one at a time")
        async with self._replaying:
            photo = await replaying.kept_photo(parts.vault, id, self._config)
            try:
                ended = await replaying.run(self._config, photo)
            except FleetHalted as error:
                return Outcome(ok=False, text=f"its worker could not be started: {error}")
        seconds = f"in {ended['seconds']:.1f} s, after the stages {', '.join(ended['stages']) or 'none'}"
        if ended["success"]:
            return Outcome(ok=True, count=1, text=f"processed {seconds}: it ends its worker no more")
        death = f", its worker: {ended['death'].how}" if ended["death"] else ""
        return Outcome(ok=True, count=1, text=f"{ended['code']} {seconds}: {ended['message']}{death}")

    async def _quarantine(self) -> QuarantineNow:
        vault, place = self._started().vault, str(self._config.quarantine.place or "")
        if vault is None:
            return QuarantineNow()
        try:
            found = await vault.everything()
        except FastprocError as error:
            return QuarantineNow(place=place, problem=str(error))
        return QuarantineNow(
            place=place, kept=tuple(_kept(each) for each in found[:MAX_KEPT]), count=len(found)
        )

    def _starting(self) -> View:
        why = "; ".join(
            problem for name, problem in self._readiness.now().problems.items() if name != "started"
        )
        line = Verdict("warn", "the service is starting or stopping: it takes no jobs", why)
        return View(host=host_name(), at_ms=_wall_ms(), verdict=line)

    def _started(self) -> Parts:
        if self._parts is None:
            raise NotYet("the service is starting or stopping: try again in a moment")
        return self._parts

    async def _seldom(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        known = self._kept.get(name)
        if known and time.monotonic() - known[0] < OLD_S:
            return cast(T, known[1])
        value = await ask()
        self._kept[name] = time.monotonic(), value
        return value

    async def _asked(self, name: str, answer: Awaitable[T], otherwise: T, problems: list[str]) -> T:
        try:
            return await _within(ANSWER_S, answer)
        except FastprocError as error:
            problems.append(f"{name}: not known now ({error})")
            return otherwise


async def _within(seconds: float, answer: Awaitable[T]) -> T:
    """Wait for an answer. Raises QueueUnavailable after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise QueueUnavailable(f"no answer in {seconds:g} s") from None


def _kept(evidence: Evidence) -> KeptPhoto:
    return KeptPhoto(
        id=evidence.id,
        at=evidence.at,
        photo=evidence.photo_id,
        job=evidence.job_id,
        code=evidence.code,
        stage=evidence.death.stage,
        how=evidence.death.how,
        size=evidence.size,
        replayable=evidence.photo_kept,
    )


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
