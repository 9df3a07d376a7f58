"""The page's addresses: the page, its feed, look-ups and acts, each with what it takes to be answered.

Rule 1: everybody may look. Acts, addresses of pictures and what a job holds beside its story need the token.
Rule 2: every act is a line in the log, with who gave it and how it ended; so is one that was refused for its token.
Rule 3: look-ups cost the queue's server something: LOOKS at a time, whoever asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fastproc.core.acts import Act
from fastproc.core.errors import FastprocError
from fastproc.core.fields import fields
from fastproc.core.job_view import JobDetail
from fastproc.core.view import View, activity, bounded
from fastproc.core.visitors import Refusal
from fastproc.desk.live import Live
from fastproc.desk.page import page
from fastproc.desk.port import Desk, Rules
from fastproc.desk.rights import Rights, who
from fastproc.supervisor.requests import Feed, Reply, Request, Route, json_reply

log = logging.getLogger(__name__)

#: Look-ups at a time, and the longest that is looked up: a job id of BullMQ may be of any length.
LOOKS: Final = 2
MAX_WANTED_CHARS: Final = 200
#: Jobs of a list that are shown.
MAX_ROWS: Final = 20
#: What a job's look-up shows with the token alone: where the photo is, what its producer wrote, what came of it.
SECRET: Final = ("key", "bucket", "client_id", "session_id", "log", "renditions", "return_value")

_acts: msgspec.json.Decoder[Act] = msgspec.json.Decoder(Act)


class Counter:
    """Answers what the page asks, over a desk."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk, self._rules = desk, rules
        self._rights = Rights(rules.token, rules.names)
        self._live = Live(self._sections)
        self._looks = asyncio.Semaphore(LOOKS)

    def routes(self) -> dict[tuple[str, str], Route]:
        """Return what answers each method and path."""
        return {
            ("GET", "/"): self._page,
            ("GET", "/live"): self._feed,
            ("GET", "/api/find"): self._find,
            ("GET", "/api/jobs"): self._jobs,
            ("GET", "/api/links"): self._links,
            ("GET", "/api/token"): self._token,
            ("POST", "/api/act"): self._act,
        }

    async def _page(self, request: Request) -> Reply:
        if refused := self._rights.refusal(request, page=True):
            return Reply(status=refused.status, body=f"{refused.why}\n".encode())
        return page(self._rules.pictures)

    async def _feed(self, request: Request) -> Reply | Feed:
        if refused := self._rights.refusal(request):
            return _refused(refused)
        # A proxy that gathers answers would hold the feed back (X-Accel-Buffering is nginx' word for it).
        return Feed(parts=self._live.parts(), kind="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _find(self, request: Request) -> Reply:
        if refused := self._rights.refusal(request):
            return _refused(refused)
        wanted = request.query.get("q", "").strip()
        if not 0 < len(wanted) <= MAX_WANTED_CHARS:
            return _refused(Refusal(400, f"expected an id of 1 to {MAX_WANTED_CHARS} characters"))
        operator = await self._is_operator(request)
        if isinstance(operator, Refusal):
            return _refused(operator)
        if self._looks.locked():
            return _busy()
        async with self._looks:
            try:
                found = await self._desk.find(wanted)
            except FastprocError as error:
                return _failed(error)
        job = _shown(found.job, operator=operator) if found.job else None
        return json_reply({"job": job, "looked": found.looked, "whole": found.whole})

    async def _jobs(self, request: Request) -> Reply:
        if refused := self._rights.refusal(request):
            return _refused(refused)
        if self._looks.locked():
            return _busy()
        state, code = request.query.get("state", ""), request.query.get("code", "")
        async with self._looks:
            try:
                rows = await self._desk.jobs(state, code, MAX_ROWS)
                count = await self._desk.count(code) if code and state == "failed" else len(rows)
            except FastprocError as error:
                return _failed(error)
        shown = [
            {name: row[name] for name in ("id", "photo", "ended_at_ms", "code", "reason")}
            for row in map(msgspec.to_builtins, rows)
        ]
        return json_reply({"rows": bounded(shown), "count": count})

    async def _links(self, request: Request) -> Reply:
        if refused := self._rights.refusal(request) or await self._rights.of_operator(request):
            return _refused(refused)
        try:
            links = await self._desk.links(request.query.get("bucket", ""), request.query.get("key", ""))
        except FastprocError as error:
            return _failed(error)
        return json_reply({"links": list(links)})

    async def _token(self, request: Request) -> Reply:
        if refused := self._rights.refusal(request) or await self._rights.of_operator(request):
            return _refused(refused)
        return json_reply({"ok": True})

    async def _act(self, request: Request) -> Reply:
        if refused := self._rights.refusal(request) or await self._rights.of_operator(request):
            return _refused(refused)
        try:
            act = _acts.decode(request.body)
        except (msgspec.MsgspecError, RecursionError) as error:
            return _refused(Refusal(400, f"not an order: {error}"))
        # A replay takes as long as a photo may, a retry of thousands some seconds.
        request.stay()
        about = fields(by=who(request), order=msgspec.json.encode(act).decode()[:500])
        log.info("page: ordered", extra=about)
        try:
            outcome = await self._desk.act(act, f"the page, {who(request)}")
        except FastprocError as error:
            log.warning("page: not done: %s", error, extra=about)
            return _failed(error)
        log.info("page: %s: %s", "done" if outcome.ok else "not all done", outcome.text, extra=about)
        return json_reply(bounded(msgspec.to_builtins(outcome)))

    async def _is_operator(self, request: Request) -> bool | Refusal:
        """Whether the request has the token; a refusal where it has a wrong one."""
        if "authorization" not in request.headers:
            return False
        refused = await self._rights.of_operator(request)
        return refused or True

    async def _sections(self) -> Mapping[str, bytes]:
        return sections(await self._desk.view(), self._rules)


def sections(view: View, rules: Rules) -> dict[str, bytes]:
    """Return the sections of the page's state, as JSON."""
    about = {"host": view.host, "acts": bool(rules.token), **rules.about}
    hosts = msgspec.to_builtins(view.hosts)
    # What changes with every job, and what does not, are not sent together.
    decoders = [
        {"host": host["host"], "decoders": host.pop("decoders"), "holes": host.pop("holes")} for host in hosts
    ]
    for host in hosts:
        del host["ticks"]
    found: dict[str, Any] = {
        "about": about,
        "at": view.at_ms,
        "verdict": _cut(view.verdict),
        "more": _cut(view.more),
        "problems": _cut(view.problems),
        "queue": view.queue,
        "hosts": bounded(hosts),
        "decoders": bounded(decoders),
        "ticks": activity(view.hosts, view.at_ms),
        "failures": _cut(view.failures),
        "quarantine": _cut(view.quarantine),
        "settings": rules.settings,
    }
    return {name: msgspec.json.encode(value) for name, value in found.items()}


def _cut(value: object) -> Any:
    """A value whose texts come from strangers, be it in a verdict: a server's message, a host's name."""
    return bounded(msgspec.to_builtins(value))


def _shown(job: JobDetail, *, operator: bool) -> Any:
    """A job for the page; `locked` where something is left out."""
    found = msgspec.to_builtins(job)
    if not operator:
        for name in SECRET:
            del found[name]
    return bounded(found | {"locked": not operator})


def _refused(refused: Refusal) -> Reply:
    return json_reply({"why": refused.why}, refused.status)


def _failed(error: FastprocError) -> Reply:
    return json_reply({"why": bounded(str(error))}, 503)


def _busy() -> Reply:
    return json_reply({"why": "others look something up just now: try again in a moment"}, 429)
