"""What the page needs of the service behind it, be that one supervisor or a master with several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from fastproc.core.acts import Act, Outcome
from fastproc.core.job_view import Found, JobRow
from fastproc.core.view import SettingNow, View


class Desk(Protocol):
    """Looks and orders. Every look is answered within seconds, whatever is away.

    Raises FastprocError with words for the operator where something cannot be known or done.
    """

    async def view(self) -> View:
        """Return how the service does. It raises nothing: what is not known says so."""

    async def find(self, text: str) -> Found:
        """Look a job up, by its id or its photo's."""

    async def jobs(self, state: str, code: str, limit: int) -> Sequence[JobRow]:
        """Return the newest jobs in a state; of those that failed, with a code where one is given."""

    async def count(self, code: str) -> int:
        """Return how many jobs of a code an order to retry them would find now."""

    async def act(self, act: Act, by: str) -> Outcome:
        """Do what the operator `by` orders."""

    async def links(self, bucket: str, key: str) -> Sequence[str]:
        """Return addresses that show an object, for a short time: the first that works is to be taken."""


class Rules(Struct, frozen=True, kw_only=True):
    """ADMIN_TOKEN ("": nobody may act), HTTP_NAMES, the origins of pictures, and the settings as they are shown.

    `host`: this host's name, `about`: what else the page's head says.
    """

    host: str = ""
    token: str = ""
    names: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    settings: tuple[SettingNow, ...] = ()
    about: Mapping[str, str] = {}
