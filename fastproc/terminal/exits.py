"""The exit codes of the command line, named. Source: sysexits.h, so that people and tools can look them up."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit code of a command."""

    OK = 0
    #: `process`, `bench`, `demo`, `quarantine replay`: at least one photo did not end as it should.
    #: Orders (`retry`, `cancel` ...): not all of it was done. `jobs`: there is no such job.
    PHOTOS_FAILED = 1
    #: Wrong options or arguments (click's own code).
    USAGE = 2
    #: EX_UNAVAILABLE: Redis, S3, the database or the HTTP port cannot be used.
    UNREACHABLE = 69
    #: EX_SOFTWARE: no worker survives its start, or a part of the supervisor failed.
    HALTED = 70
    #: EX_CONFIG: a variable or the installation is wrong.
    CONFIG = 78
