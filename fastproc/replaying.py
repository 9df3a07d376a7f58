"""Runs a photo of the quarantine again, in a worker of its own: for the command and for the operator's page.

Rule 1: nothing is written and nothing removed, whatever the answer is; the service's own workers are not touched.
"""

from __future__ import annotations

import time

from msgspec import structs

from fastproc.config.settings import Config
from fastproc.core import record
from fastproc.core.errors import ConfigError, SourceTooLarge, TaskError
from fastproc.core.model import Json
from fastproc.parts import started_pool
from fastproc.supervisor.ports import Vault


async def kept_photo(vault: Vault, id: str, config: Config) -> bytes:
    """Return the photo's bytes. Raises: ConfigError; TaskError (it cannot be fetched)."""
    evidence = await vault.find(id)
    if not evidence.photo_kept:
        raise ConfigError(
            [f"QUARANTINE: {id}: the photo was not kept, it is larger than QUARANTINE_MAX_BYTES"]
        )
    # One byte more than is allowed, so that the limit refuses the photo.
    return await vault.photo(id, config.pipeline.max_source_bytes + 1)


async def run(config: Config, photo: bytes) -> dict[str, Json]:
    """Process the photo with these settings; return how it ended, all that is known. Raises FleetHalted."""
    one = structs.replace(config, pool=structs.replace(config.pool, workers=1))
    stages: list[str] = []
    async with started_pool(one) as pool:
        versions = pool.greeting.versions if pool.greeting else {}
        begun = time.monotonic()
        about: dict[str, Json] = {"versions": versions, "stages": stages}
        try:
            async with pool.lend() as loan:
                if len(photo) > len(loan.target):
                    raise SourceTooLarge(f"more than MAX_SOURCE_BYTES ({len(loan.target)})")
                loan.target[: len(photo)] = photo
                loan.size = len(photo)
                result = await pool.run(loan, None, stages.append)
        except TaskError as error:
            return {
                "success": False,
                "code": error.code,
                "message": error.message,
                "death": error.death,
                "seconds": round(time.monotonic() - begun, 3),
            } | about
        return {
            "success": True,
            "seconds": round(time.monotonic() - begun, 3),
            "metadata": record.metadata(result.report),
            "renditions": result.report.renditions,
            "cpuMs": result.report.cpu_ms,
            "peakRssBytes": result.report.peak_rss_bytes,
        } | about
