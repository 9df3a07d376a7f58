"""`fastproc init-db`: creates the table `photos`."""

from __future__ import annotations

import click
from rich.console import Console

from fastproc.backends import factories
from fastproc.commands import running
from fastproc.config.settings import Config
from fastproc.terminal.text import print_line


@click.command()
def command() -> None:
    """Create the table `photos` if it does not exist.

    The database is the one that DATABASE_URL or SQLITE_PATH names. A table that exists is left as it is.
    """
    config = running.settings()
    running.run(lambda: init_db(config))


async def init_db(config: Config) -> None:
    """Create the table if it does not exist. Raises Unreachable."""
    metadata = factories.metadata_store(config.database)
    try:
        await metadata.create_schema()
    finally:
        await metadata.close()
    print_line(Console(), f"the table photos is in {config.database.where}")
