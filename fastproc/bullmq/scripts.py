"""Finds BullMQ's Lua commands in the installed PyPI package, by file, and refuses those it has not been tried with.

Rule 1: nothing is copied: the files are the package's; the package itself is not imported here.
Rule 2: a file is known by its hash. A package whose commands have changed is an error at start, not at run time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import pathlib
import re

from msgspec import Struct

from fastproc.bullmq.protocol import SCRIPTS, knows
from fastproc.core.errors import ConfigError


class Script(Struct, frozen=True):
    """One Lua command: its name, number of keys, text, and the SHA-1 that Redis knows it by."""

    name: str
    arity: int
    source: str
    sha1: str


#: SHA-256 of each file that the conformance suite has passed with, by package version.
KNOWN: dict[str, dict[str, str]] = {
    "2.26.0": {
        "addLog-2.lua": "2e2322a36a7705b991e6d607033e9a56c8e7775a1ad8b075b3c5588c43a79bc5",
        "drain-5.lua": "19eff41140d7433a7157f4e4414c8f9f0506c6e24dac9aebca4cdb6a4c472229",
        "extendLocks-1.lua": "14bb41f30eff2e7ff033bbcb31078fbc954a0bb16902129da8b68861c16baa5c",
        "moveJobFromActiveToWait-9.lua": "5825f9ec905734a8647a8feef89dc2f4e84f7ad1ecb8497b0c2fc57b7d2ac592",
        "moveStalledJobsToWait-9.lua": "3a55e07ca3f0a0bff611f935c09710f4abdb91342adcf015fcfd414e87e73248",
        "moveToActive-11.lua": "ee4a8eb48cad650aec886580e128418d44582f68b5202a11dcac48bb3dcae117",
        "moveToDelayed-12.lua": "05b88d96e7d47673b729f38b24a01e4818d0bf98d4d8fe26a217cf5c2a977dfc",
        "moveToFinished-14.lua": "9d799b4cf5684d0db297ca435613c5dedc89620eb5554d75ed611c64074867d2",
        "pause-7.lua": "044d0a9067ca7dbc4eadff8466bac5aa556e882333bfcce90eeeb5e20c3c4315",
        "reprocessJob-8.lua": "33f68fa67b8418597ed1b941a48b3079ccf8fbda229cfb6ec9f2509501f069be",
        "retryJob-11.lua": "5c98c7eae068e06d53dd55d468e397fa73e173697519d1ea8857172e8faa4abe",
        "updateJobScheduler-12.lua": "79cb11991c2d4473598ed4aac1dd7b68ad81a296766e378d37b4a4b78cdf6cff",
        "updateProgress-3.lua": "62d0cce017bd552a5d7f4cd9856b4df2ce8351b45dace63705aa56bd96962edc",
    },
    "3.4.4": {
        "addLog-2.lua": "2e2322a36a7705b991e6d607033e9a56c8e7775a1ad8b075b3c5588c43a79bc5",
        "drain-5.lua": "38cdebab12d9971cbfca3100850ec83a4b0e43639f20b27ce4fc2ffc87034e56",
        "extendLocks-1.lua": "14bb41f30eff2e7ff033bbcb31078fbc954a0bb16902129da8b68861c16baa5c",
        "moveJobFromActiveToWait-9.lua": "ac9546cdd23294a20e0941aa531b52d83ce387e69a6a3c251af5ca0266bb0753",
        "moveStalledJobsToWait-9.lua": "dad86d89b50d825fb9ad1e95ef0ca9ae459ba16e837663fdbfc7be6de003debb",
        "moveToActive-11.lua": "7d35069db0b831af1bd1b2d5eb8d524e86fc7d3280b8c684a96b6614bad7d79a",
        "moveToDelayed-11.lua": "1a7b9311ef92fd66416973c29fa8b2c909cec58d0bfcf3e5ab53bb07ea1664d7",
        "moveToFinished-14.lua": "8e744ec5d65dbe9e7ffb6e39a96c0268bba65e4f0b1d04e2d2a42ccb71b45a6d",
        "pause-7.lua": "da797a84855a762e0d48310c70684504c42c86cdd7a1d941aba96300bbf3646c",
        "reprocessJob-9.lua": "4ea1093385a876769f604fb60e2db13d993b0a801caaea7c2262a36ef589fdc7",
        "retryJob-11.lua": "01f75f76043050807bce00f70908be7c15c7a29ce5f1f69d85a24d15f1099967",
        "updateJobScheduler-12.lua": "8c71d358aa62ffb75111d46e5b7b45e44d5f00e3deede372609679930f4fdf13",
        "updateProgress-3.lua": "62d0cce017bd552a5d7f4cd9856b4df2ce8351b45dace63705aa56bd96962edc",
    },
}


def load(folder: pathlib.Path | None = None) -> dict[str, Script]:
    """Return the commands by name, from `folder` or from the installed package.

    Raises: ConfigError when the package is missing, lacks a command, or has one that is not known.
    """
    where = folder or _package_folder()
    found: dict[str, Script] = {}
    problems = []
    trusted = {digest for version in KNOWN.values() for digest in version.values()}
    for path in sorted(where.glob("*.lua")):
        parts = re.fullmatch(r"(\w+)-(\d+)", path.stem)
        if not parts or parts[1] not in SCRIPTS:
            continue
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() not in trusted or not knows(parts[1], int(parts[2])):
            problems.append(f"bullmq: {path.name} is not one that this version has been tried with")
        found[parts[1]] = Script(parts[1], int(parts[2]), raw.decode(), hashlib.sha1(raw).hexdigest())
    problems += [f"bullmq: the command {name} is missing" for name in SCRIPTS if name not in found]
    if problems:
        advice = f"install one of: {', '.join(f'bullmq=={version}' for version in KNOWN)}"
        raise ConfigError([*problems, f"bullmq: {installed_version()} is installed; {advice}"])
    return found


def installed_version() -> str:
    """Return the version of the installed package `bullmq`, or "none"."""
    try:
        return importlib.metadata.version("bullmq")
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _package_folder() -> pathlib.Path:
    spec = importlib.util.find_spec("bullmq")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(["bullmq: the package is not installed, which has the Lua commands"])
    return pathlib.Path(spec.submodule_search_locations[0]) / "commands"
