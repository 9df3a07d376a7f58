"""The named exit codes of the command line. Source: sysexits.h, so that orchestrators and people can look them up."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the process ends with."""

    OK = 0
    #: `process` and `demo`: at least one photo did not end as it should.
    PHOTOS_FAILED = 1
    #: click's own: wrong options or arguments.
    USAGE = 2
    #: EX_UNAVAILABLE: Redis, S3, the database or the HTTP port cannot be used.
    UNREACHABLE = 69
    #: EX_SOFTWARE: workers do not survive their start, or a part of the supervisor broke.
    HALTED = 70
    #: EX_CONFIG: a variable is wrong, or the installation is.
    CONFIG = 78
