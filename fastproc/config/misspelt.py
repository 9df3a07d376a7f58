"""Names variables that look like a setting and are none, with the setting that is likely meant.

Rule 1: it warns and never refuses: an environment holds the variables of other programs too.
Rule 2: so a name counts as misspelt only where all its words are those of a setting but for a slip (`close`), a unit,
        their order, the case, a dash or a prefix; not where that setting is there as well, whose value is in force.
Rule 3: names that others are known to give (`_FOREIGN`) are never misspelt, whatever they look like.
Rule 4: no value is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Final

from fastproc.core.stage_settings import PREFIX

#: Programs and platforms by the beginning of their names, and single names that a platform or an image gives.
_FOREIGN: Final = re.compile(
    r"(AWS|ECS|LAMBDA|PG|POSTGRES|NODE|NPM|YARN|NVM|GIT|GITHUB|GITLAB|CI|RUNNER|BUILDKITE|CIRCLE|JENKINS|TRAVIS|HEROKU"
    r"|FLY|RAILWAY|RENDER|VERCEL|K|KUBERNETES|DOCKER|COMPOSE|PODMAN|SYSTEMD|LC|XDG|SSH|GPG|DBUS|PYTHON|PIP|UV|CONDA"
    r"|VIRTUAL_ENV|OTEL|DD|JAVA|ASPNETCORE|DOTNET|GCP|GCLOUD|GOOGLE|AZURE|BUNDLE|SUPERVISOR|STAGE|MALLOC)(_.*|$)"
    r"|(HTTPS?|ALL|NO|FTP)_PROXY|HTTPS_(PORT|HOST)|HTTPS?_PORTS|REDIS_HOSTS|REDIS(HOST|PORT|PASSWORD)|LOGLEVEL"
    # What Kubernetes and Docker say of a service in the same namespace or network.
    r"|.*_SERVICE_(HOST|PORT)(_.*)?|.*_PORT_\d+_(TCP|UDP)(_.*)?"
)
#: Words that people use for one of ours.
_SAME: Final = {
    "URI": "URL", "HOSTNAME": "HOST", "PASS": "PASSWORD", "PASSWD": "PASSWORD", "PWD": "PASSWORD", "S3": "MINIO",
}  # fmt: skip
_UNITS: Final = {"S", "MS", "SECONDS", "PX", "BYTES", "MB", "DAYS", "PERCENT"}
_PREFIXES: Final = ("FASTPROC_", "APP_")
_FILE: Final = "_FILE"

#: Share of letters that two words or values have in common, from which on one is taken for a slip of the other: two
#: letters in the wrong order of a word of five, one too few of four.
_SLIP: Final = 0.8
#: The same for a value of a short list, where there is less to mistake it for.
_SLIP_OF_VALUE: Final = 0.6


def misspelt(given: Collection[str], settings: Collection[str]) -> list[str]:
    """Return a warning for each of the given names that seems to be a misspelt setting."""
    found = []
    for name in sorted(given):
        meant = _meant(name, settings)
        if meant and meant not in given:
            found.append(f"{name}: there is no such setting; did you mean {meant}?")
    return found


def likely(wrong: str, choices: Iterable[str]) -> str:
    """Return the words for a value that is likely meant, to end a message with; "" where none is."""
    close = get_close_matches(wrong.lower(), list(choices), n=1, cutoff=_SLIP_OF_VALUE)
    return f"; did you mean {close[0]}?" if close else ""


def likely_stage(name: str, fronts: Iterable[str]) -> str:
    """Return the words for a stage's setting that is likely meant; `fronts`: what those of each stage begin with."""
    for front in fronts:
        words = name.split("_")
        head, rest = "_".join(words[: front.count("_")]) + "_", "_".join(words[front.count("_") :])
        if rest and close(head.removeprefix(PREFIX), front.removeprefix(PREFIX)):
            return f"; did you mean {front}{rest}?"
    return ""


def _meant(name: str, settings: Collection[str]) -> str:
    """Return the setting that the name seems to be for; "" for none, and for the name of a setting."""
    if name in settings or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
        return ""
    plain = re.sub(r"[.-]", "_", name.upper())
    if _FOREIGN.fullmatch(plain) or (name == name.lower() and not re.search(r"[_.-]", name)):
        return ""
    plain = next((plain.removeprefix(each) for each in _PREFIXES if plain.startswith(each)), plain)
    if found := _nearest(plain, settings):
        return found
    stem = plain.removesuffix(_FILE)
    if stem == plain or (name == f"{stem}{_FILE}" and stem in settings):
        return ""
    found = _nearest(stem, settings)
    return f"{found}{_FILE}" if found else ""


def _nearest(plain: str, settings: Collection[str]) -> str:
    alike = {each: _likeness(plain, each) for each in settings}
    best = max(alike, key=lambda each: alike[each], default="")
    return best if best and alike[best] > 0 else ""


def _likeness(name: str, setting: str) -> float:
    """Return how much a name is like a setting's; 0 where it is not meant for it."""
    if name == setting:
        return 2.0
    words, theirs = name.split("_"), setting.split("_")
    whole = SequenceMatcher(None, name, setting).ratio()
    if len(setting) > 9 and name.replace("_", "") == setting.replace("_", ""):
        return whole
    if words[-1:] != theirs[-1:] and len(theirs) > 1:
        without = [list(_without_unit(each)) for each in (words, theirs)]
        if len(without[0]) > 1 and without[0] == without[1]:
            return whole
    if len(words) != len(theirs):
        return 0.0
    if sorted(words) == sorted(theirs):
        return whole
    # One word that is quite another makes another name.
    pairs = zip(words, theirs, strict=True)
    return whole if all(_SAME.get(one) == other or close(one, other) for one, other in pairs) else 0.0


def _without_unit(words: list[str]) -> list[str]:
    return words[:-1] if words[-1] in _UNITS else words


def close(word: str, other: str) -> bool:
    """Whether a word is the other one, or a slip of it: in short words two letters in the wrong order, no more."""
    if word == other:
        return True
    if min(len(word), len(other)) < 4:
        return len(word) == len(other) > 2 and sorted(word) == sorted(other)
    if len(word) == len(other) and sorted(word) == sorted(other):
        return True
    return SequenceMatcher(None, word, other).ratio() >= _SLIP
