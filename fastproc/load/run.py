"""A load test from the first line to the last: photos, servers or a deployment, runs, report."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fastproc import __version__
from fastproc.bullmq.opening import checked_server, open_pipe
from fastproc.bullmq.producer import producer
from fastproc.bullmq.scripts import installed_version
from fastproc.config.settings import Config, table
from fastproc.embedded.folder import temporary_folder
from fastproc.load import embedded_servers, photos
from fastproc.load.order import Order, Tell
from fastproc.load.report import Report, Run, machine
from fastproc.load.running_deployment import RunningDeployment

#: What a clock that differs does to the figures.
CLOCKS = "a service's clock is behind this machine's: times are wrong by the difference"

#: Why an ordinary user sees no memory.
HIDDEN = "no memory: the workers' jail shows it to root alone (or --set WORKER_SANDBOX=off)"


async def on_embedded(order: Order, command: str, tell: Tell) -> Report:
    """Start servers and services, measure, end them. Raises Unreachable, ConfigError."""
    with temporary_folder("fastproc-bench-") as home:
        files = _files(order, home / "photos", tell)
        tell.line("starting Valkey and SeaweedFS")
        with embedded_servers.servers(home, order) as ground:
            keys = embedded_servers.upload(ground, files)
            runs = await embedded_servers.run(ground, keys, order, tell)
            return await _report(order, "embedded", ground.config, files, command, runs)


async def on_running(config: Config, order: Order, command: str, tell: Tell) -> Report:
    """Measure the deployment that `config` names, and clean up. Raises Refused, Unreachable, TaskError, ConfigError."""
    with temporary_folder("fastproc-bench-") as home:
        async with producer(config.redis, config.queue) as queue:
            deployment = RunningDeployment(config, queue, order, tell)
            await deployment.check()
            files = _files(order, home / "photos", tell)
            deployment.announce(files)
            try:
                await deployment.upload(files)
                runs = await deployment.run()
            except asyncio.CancelledError:
                tell.line("interrupted: cleaning up; Ctrl-C again leaves everything where it is")
                raise
            finally:
                await _cleaned(deployment, tell)
        return await _report(order, "running", config, files, command, runs)


async def _cleaned(deployment: RunningDeployment, tell: Tell) -> None:
    try:
        await deployment.clean()
    except BaseException:  # A server that is away, or a second Ctrl-C.
        tell.line(
            f"not everything was removed: jobs and objects with {deployment.name} in their names are left"
        )
        raise


def _files(order: Order, folder: Path, tell: Tell) -> list[Path]:
    if order.photos:
        return photos.of_folder(order.photos)
    tell.line("painting four photos")
    folder.mkdir()
    return photos.painted(folder)


async def _report(
    order: Order,
    target: Literal["embedded", "running"],
    config: Config,
    files: list[Path],
    command: str,
    runs: list[Run],
) -> Report:
    async with open_pipe(config) as pipe:
        server = await checked_server(pipe, config.redis.where)
    notes = [CLOCKS] if any(run.figures.clocks_differ for run in runs) else []
    if target == "embedded" and any(run.pss_bytes is None for run in runs):
        notes.append(HIDDEN)
    if target == "running" and not order.metrics:
        notes.append("no CPU time: --metrics URL of each service tells it")
    if target == "running":
        notes.append("no memory and no photos/s/core: the services' machines are not seen from here")
    return Report(
        command=command,
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        target=target,
        environment={
            "redis": config.redis.where,
            "queue": f"{config.queue.prefix}:{config.queue.name}",
            "s3": config.s3.host_and_port,
            "bucket": config.s3.bucket,
        },
        machine=machine(),
        versions={"fastproc": __version__, "bullmq": installed_version(), "redis": server.name},
        settings={row.env: row.value for row in table(config) if row.value != row.default},
        photos={file.name: file.stat().st_size for file in files},
        seed=order.seed,
        varied=order.varied,
        runs=runs,
        notes=notes,
    )
