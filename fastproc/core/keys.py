"""Where a photo's results go: bucket and keys, as the contract has them or by a template of the operator's.

Rule 1: without a template the keys are `naming.object_key`'s, and nothing is refused here.
Rule 2: a template is refused at the start where two renditions, or renditions of two photos, could get one key.
Rule 3: what a job brings may not move its results elsewhere: a key has no empty step and no step `.` or `..`, is no
        longer than S3 allows, and is not that of the photo itself. Such a job fails as INVALID_JOB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from fastproc.core.errors import InvalidJob
from fastproc.core.model import Job, Rendition
from fastproc.core.naming import SAFE_NAME, object_key, suffix

#: What may stand in braces. `key`: the photo's own; `dir` and `stem`: its folder, and its file name without suffix.
FIELDS: Final = (
    "photoId", "key", "dir", "stem", "bucket", "stage", "name", "ext", "timestamp", "width", "height",
)  # fmt: skip
#: What tells one photo from every other.
IDENTITIES: Final = ("photoId", "key")

#: Source: "Safe characters" of S3's object key naming guidelines, and `=` for folders such as `size=thumb_sm`.
_LITERAL: Final = re.compile(r"[A-Za-z0-9!_.*'()/=-]*")
_MAX_KEY_BYTES: Final = 1024
#: Fields of any text, an identity among them.
_TEXTS: Final = frozenset({"photoId", "key", "dir", "stem", "bucket"})
#: A number that touches an identity, with nothing between them but digits.
_NUMBER: Final = r"\{(?:timestamp|width|height)\}"
_NUMBER_BESIDE: Final = re.compile(rf"\{{(?:photoId|key)\}}\d*{_NUMBER}|{_NUMBER}\d*\{{(?:photoId|key)\}}")
#: Stands for a photo's identity while a template is judged: no literal can have it.
_MARK: Final = "\0"


def template_problem(template: str) -> str:
    """Return what is wrong with the template alone, "" where nothing is."""
    parts = re.split(r"\{([^{}]*)\}", template)
    literals, names = "".join(parts[::2]), parts[1::2]
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        return f"there is no {{{unknown[0]}}}, but {', '.join(f'{{{name}}}' for name in FIELDS)}"
    if not _LITERAL.fullmatch(literals):
        return "expected letters, digits and !_.*'()/=- around the fields"
    if any(step in ("", ".", "..") for step in template.split("/")):
        return "a step between slashes is empty, . or .."
    if "name" not in names:
        return "it lacks {name}: two renditions of a photo would have one key"
    if not any(name in IDENTITIES for name in names):
        return "it lacks {photoId} or {key}: renditions of two photos would have one key"
    if any(_is_ambiguous(step) for step in template.split("/")):
        return "a field beside {photoId} or {key} needs a slash between: keys of two photos could be one"
    return ""


def _is_ambiguous(step: str) -> bool:
    """Whether one text could be read as two identities: `{stem}_{photoId}`, `{photoId}{timestamp}`."""
    fields = re.findall(r"\{(\w+)\}", step)
    if not any(name in IDENTITIES for name in fields):
        return False
    return sum(name in _TEXTS for name in fields) > 1 or _NUMBER_BESIDE.search(step) is not None


def colliding(template: str, renditions: Iterable[Rendition]) -> tuple[str, str] | None:
    """Return two renditions whose keys could be one, for one photo or for two; None where there are none.

    Keys are compared around the photo's identity: they can be one where one's beginning and end continue the other's
    by text that an id may have.
    """
    more = _ANY_TEXT if "{key}" in template else SAFE_NAME
    named = [
        (f"{each.stage} {each.name}", _fill(template, dict.fromkeys(FIELDS, "1") | _of(each) | _MARKS))
        for each in renditions
    ]
    pairs = ((one, two) for number, one in enumerate(named) for two in named[number + 1 :])
    for (one, first), (other, second) in pairs:
        (head, _, _), (head_2, _, _) = first.partition(_MARK), second.partition(_MARK)
        tail, tail_2 = first.rpartition(_MARK)[2], second.rpartition(_MARK)[2]
        if _continues(head, head_2, more) and _continues(tail[::-1], tail_2[::-1], more):
            return one, other
    return None


_MARKS: Final = dict.fromkeys(IDENTITIES, _MARK)


_ANY_TEXT: Final = re.compile(r".+", re.DOTALL)


def _continues(one: str, other: str, may_follow: re.Pattern[str]) -> bool:
    """Whether the longer text begins with the shorter, and goes on as an identity may."""
    short, long = sorted((one, other), key=len)
    more = long[len(short) :]
    return long.startswith(short) and (not more or may_follow.fullmatch(more) is not None)


class Results(Struct, frozen=True):
    """Where results go: a bucket of their own ("": the photo's), and a template for their keys ("": the contract's)."""

    bucket: str = ""
    template: str = ""

    def bucket_of(self, job: Job) -> str:
        """The bucket of the job's results."""
        return self.bucket or job.bucket

    def keys(self, job: Job, renditions: Sequence[Rendition]) -> list[str]:
        """Return each rendition's key. Raises InvalidJob where the job's values make none that is good."""
        if not self.template:
            return [object_key(each, job.photo_id, job.timestamp_ms) for each in renditions]
        keys = [self._key(job, each) for each in renditions]
        if len(set(keys)) < len(keys):
            raise InvalidJob("two renditions would have one key (UPLOAD_KEY_TEMPLATE)")
        return keys

    def require(self, job: Job) -> None:
        """Raises InvalidJob where no rendition of the job could have a good key, before anything is done for it."""
        if self.template:
            self._key(job, _ANY)

    def _key(self, job: Job, rendition: Rendition) -> str:
        key = _fill(self.template, _of(rendition) | _of_job(job))
        if any(step in ("", ".", "..") for step in key.split("/")):
            raise InvalidJob("its key or id leads out of UPLOAD_KEY_TEMPLATE: an empty step, . or ..")
        if len(key.encode(errors="replace")) > _MAX_KEY_BYTES:
            raise InvalidJob(f"a key by UPLOAD_KEY_TEMPLATE would have more than {_MAX_KEY_BYTES} bytes")
        if key == job.s3_key and self.bucket_of(job) == job.bucket:
            raise InvalidJob("a key by UPLOAD_KEY_TEMPLATE is the photo's own: it would be overwritten")
        return key


#: A rendition that any pipeline could make.
_ANY: Final = Rendition(stage="thumbnails", name="x", width=1, height=1, offset=0, size=0)


def _fill(template: str, fields: Mapping[str, str]) -> str:
    # A photo at the top has no folder: the slash behind it is left out as well.
    kept = template if fields["dir"] else template.replace("{dir}/", "")
    return re.sub(r"\{(\w+)\}", lambda found: fields[found[1]], kept)


def _of(rendition: Rendition) -> dict[str, str]:
    return {
        "stage": rendition.stage,
        "name": rendition.name,
        "ext": suffix(rendition),
        "width": str(rendition.width),
        "height": str(rendition.height),
    }


def _of_job(job: Job) -> dict[str, str]:
    folder, slash, file = job.s3_key.rpartition("/")
    stem, _, ending = file.rpartition(".")
    return {
        "photoId": job.photo_id,
        "key": job.s3_key,
        # "/a.jpg" is not "a.jpg": its empty folder keeps its slash, and is refused.
        "dir": folder or slash,
        "stem": stem if stem and ending else file,
        "bucket": job.bucket,
        "timestamp": str(job.timestamp_ms),
    }
