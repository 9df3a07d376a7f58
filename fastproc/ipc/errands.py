"""What the master asks a supervisor for the operator's page, and the answers: further messages of the link.

Rule 1: an answer is the value's own bytes (MessagePack), which the master decodes by the kind that it asked for.
Rule 2: each errand has a number, so that a long one (a replay) holds no other up.
"""

from __future__ import annotations

from msgspec import Struct

from fastproc.core.acts import Act


class Look(Struct, frozen=True, tag="look"):
    """How does the service do? `whole`: not this supervisor alone."""

    whole: bool


class Find(Struct, frozen=True, tag="find"):
    """Look a job up."""

    text: str


class ListJobs(Struct, frozen=True, tag="jobs"):
    """Which jobs are in this state?"""

    state: str
    code: str
    limit: int


class Count(Struct, frozen=True, tag="count"):
    """How many failed jobs have this code now?"""

    code: str


class Give(Struct, frozen=True, tag="give"):
    """An order of the operator `by`."""

    act: Act
    by: str


class Link(Struct, frozen=True, tag="link"):
    """Addresses that show an object."""

    bucket: str
    key: str


What = Look | Find | ListJobs | Count | Give | Link


class Errand(Struct, frozen=True, tag="errand"):
    """To a supervisor."""

    number: int
    what: What


class Done(Struct, frozen=True, tag="done"):
    """To the master: the answer's bytes, or why there is none (`problem`)."""

    number: int
    value: bytes = b""
    problem: str = ""
