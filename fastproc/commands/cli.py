"""The command line: which commands there are. Each is a file of this folder.

Rule 1: a command is the file `commands/<name>.py` with a click command `command`, and one line of `COMMANDS`.
Rule 2: only the file of the command that was asked for is imported, so that the quick ones stay quick; `--help` and
        `--version` import none.
"""

from __future__ import annotations

import importlib

import click

from fastproc import __version__

#: name -> what it does, in a line of `--help`. The file's name has `_` for `-`.
COMMANDS = {
    "run": "Serve the queue until SIGTERM or SIGINT.",
    "check": "Show the settings, and try Redis, S3, the database and a worker.",
    "init-db": "Create the table `photos` if it does not exist.",
    "process": "Run the pipeline on local files, without servers.",
    "enqueue": "Add a job for each object key.",
    "status": "Show the queue: jobs by state, workers, newest failures.",
    "top": "Show live how the services do, and what to do; q ends it.",
    "jobs": "List the jobs in a state, or show one, by its id or its photo's.",
    "retry": "Let failed jobs run again: some, those of a code, or all.",
    "cancel": "End a job as CANCELLED, whether it waits or runs.",
    "pause": "Let no worker take a job of the queue.",
    "resume": "Let workers take jobs of the queue again.",
    "drain": "Remove the jobs that wait.",
    "set": "Change concurrency, rate or log level of services that run.",
    "errors": "Show failures by code: how many, the newest, what to do.",
    "webhooks": "Show what waits for the receivers of webhooks, what fails and why.",
    "quarantine": "Show or replay the photos that killed their worker.",
    "bench": "Measure throughput and latency under load.",
    "demo": "Show everything at work: embedded servers, real jobs, results.",
}


class Commands(click.Group):
    """The commands of `COMMANDS`, in that order, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"fastproc.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fastproc")
def main() -> None:
    """Photo-processing worker for BullMQ queues and S3-compatible storage.

    Settings come from environment variables; `fastproc check` shows all of them.
    """
