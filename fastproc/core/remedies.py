"""What each code of `core.errors` means and what to do about it: the one source for documents, commands and pages.

Rule 1: every code has an entry. The tables of docs/contract.md and docs/operations.md say the same (a test compares).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Remedy(Struct, frozen=True):
    """A code's meaning; what to do about it in an application; for the operator, what to look at and what to do."""

    meaning: str
    application: str
    look: str
    operator: str


#: code -> what it means, in the order of docs/contract.md.
REMEDIES: Final[dict[str, Remedy]] = {
    "INVALID_JOB": Remedy(
        "the job's data or options are not as described above, or make no key by `UPLOAD_KEY_TEMPLATE`",
        "fix the producer",
        "the message; who adds such jobs",
        "nothing here: the producer is wrong",
    ),
    "BUCKET_NOT_ALLOWED": Remedy(
        "`bucket` is not in `ALLOWED_BUCKETS`",
        "fix the producer, or allow the bucket",
        "the bucket in the message",
        "extend `ALLOWED_BUCKETS`, or nothing",
    ),
    "OBJECT_NOT_FOUND": Remedy(
        "S3 itself says that there is no such object (`NoSuchKey`)",
        "add the job after the upload is confirmed",
        "does the producer add the job before the upload ends? Lifecycle rules? The right bucket?",
        "nothing, or fix the producer",
    ),
    "SOURCE_TOO_LARGE": Remedy(
        "more bytes than `MAX_SOURCE_BYTES`",
        "refuse such uploads, or raise the limit",
        "sizes against `MAX_SOURCE_BYTES`",
        "raise it together with `MAX_INFLIGHT_BYTES`, or nothing",
    ),
    "UNSUPPORTED_FORMAT": Remedy(
        "by its content, not in `ALLOWED_FORMATS`, or a variant that the decoder does not know",
        "tell the user",
        "`ALLOWED_FORMATS`",
        "nothing; `gif` may be added",
    ),
    "MIME_MISMATCH": Remedy(
        "the object's `Content-Type` names another image format than the content",
        "upload with the right type, or with `application/octet-stream`",
        "the uploader's `Content-Type`",
        "nothing",
    ),
    "FILE_CORRUPTED": Remedy(
        "damaged, cut short, or not possible as its header says",
        "ask for a new upload; see `INTEGRITY`",
        "a sudden rise points to the uploader or a proxy that cuts bodies",
        "nothing; `INTEGRITY` forgives more",
    ),
    "IMAGE_TOO_SMALL": Remedy(
        "a side is under `MIN_SIDE_PX`",
        "tell the user",
        "`MIN_SIDE_PX`",
        "nothing",
    ),
    "IMAGE_TOO_LARGE": Remedy(
        "a side over `MAX_SIDE_PX`, more than `MAX_PIXELS`, or a decode over `MAX_DECODED_BYTES`",
        "tell the user, or raise the limit",
        "`MAX_SIDE_PX`, `MAX_PIXELS`, `MAX_DECODED_BYTES`",
        "raise them together with `WORKER_MEMORY_BYTES`, or nothing",
    ),
    "IMAGE_TOO_COMPLEX": Remedy(
        "too many scans, frames or segments, or too much metadata",
        "tell the user",
        "`MAX_SCANS`, `MAX_FRAMES`, `MAX_ICC_BYTES`",
        "nothing: such files are made to break decoders",
    ),
    "POISON_PHOTO": Remedy(
        "the photo killed, hung or exhausted its worker twice",
        "see quarantine",
        "the quarantine, or both attempts in the job's `stacktrace`",
        "see Quarantine",
    ),
    "WORKER_CRASHED": Remedy(
        "the worker process died during the task",
        "the operator looks",
        "the log line of the worker's end: signal and stderr",
        "SIGSYS: a library or stage needs a system call that the jail refuses; report it. SIGSEGV, "
        "SIGABRT: a decoder's defect; keep the photo, update libvips",
    ),
    "WORKER_TIMEOUT": Remedy(
        "the task ran past its deadline; its worker was killed",
        "the operator looks",
        "how busy is the host (steal, throttling)? One photo or all?",
        "all: more CPU, or raise `JOB_TIMEOUT_S`. One: quarantine",
    ),
    "WORKER_KILLED": Remedy(
        "the worker was killed from outside (SIGKILL) during the task; no evidence against the photo,"
        " and no death",
        "the operator looks",
        "who sends SIGKILL: the host, an operator, the kernel while the photo ran alone",
        "see memory",
    ),
    "WORKER_OUT_OF_MEMORY": Remedy(
        "the photo needed more than `WORKER_MEMORY_BYTES`",
        "the operator looks",
        "the photo's format and pixels",
        "raise `WORKER_MEMORY_BYTES`, or lower `MAX_DECODED_BYTES`",
    ),
    "PROCESSING_ERROR": Remedy(
        "anything without a code of its own",
        "report it",
        "the message names exception and stage",
        "a defect, or a stage of your own: report it with the photo",
    ),
    "STORAGE_UNAVAILABLE": Remedy(
        "S3's answers about this photo failed, while it answered for others: refused, cut short, "
        "changed on the way. An outage counts no attempt",
        "look at the object; retry the failed jobs afterwards",
        "status and S3's code in the message",
        "see S3",
    ),
    "DATABASE_UNAVAILABLE": Remedy(
        "the statement of this photo's row failed, while the database took others. An outage counts "
        "no attempt",
        "look at triggers; retry the failed jobs afterwards",
        "the database's error name in the message",
        "see Database",
    ),
    "ROW_REFUSED": Remedy(
        "a constraint, trigger or type of your schema refuses the row",
        "fix the schema or the photo's row, then retry the job",
        "the constraint in the message; a new migration of the API?",
        "fix the schema, then retry the failed jobs. Renditions of such a job may be written already",
    ),
    "CANCELLED": Remedy(
        "an operator has ended the job (`fastproc cancel`), whether it waited or ran; no fault of the photo",
        "nothing, or add the job again",
        "why: in the message; who and when: in the service's log",
        "nothing; `fastproc retry` lets it run after all. Renditions of such a job may be written already",
    ),
}
