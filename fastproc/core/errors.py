"""Every way a job can fail, with its stable code, and whether trying again can help.

    FastprocError
    ├ TaskError                                  the attempt failed: it is recorded, announced and perhaps retried
    │ ├ JobError     the producer's fault        INVALID_JOB · BUCKET_NOT_ALLOWED · OBJECT_NOT_FOUND · SOURCE_TOO_LARGE
    │ ├ ImageError   the picture's fault         UNSUPPORTED_FORMAT · MIME_MISMATCH · FILE_CORRUPTED · IMAGE_TOO_SMALL
    │ │                                          IMAGE_TOO_LARGE · IMAGE_TOO_COMPLEX · POISON_PHOTO
    │ ├ WorkerError  our fault   WORKER_CRASHED · WORKER_TIMEOUT · WORKER_OUT_OF_MEMORY · WORKER_KILLED
    │ │                                          PROCESSING_ERROR
    │ ├ ServiceError another server's fault      STORAGE_UNAVAILABLE · DATABASE_UNAVAILABLE · ROW_REFUSED
    │ └ Cancelled    nobody's fault              CANCELLED: an operator's order
    ├ QueueUnavailable                           Redis did not answer: nothing is known about the job
    ├ NeighbourAway  another server's fault      the job goes back to the queue, no attempt is counted
    ├ LockLost       nobody's fault              the job is no longer ours: stop, report nothing
    ├ ConfigError    the operator's fault        named exit code, every problem at once
    ├ Unreachable    the operator's fault        a server was not reachable at start
    └ FleetHalted    the deployment's fault      workers die before they are ready
The code is the metric label, the prefix of `failedReason`, the wire value and the log field. Drivers' exceptions are
translated in the backend that uses the driver, nowhere else.
"""

from __future__ import annotations

from typing import ClassVar, Final

from fastproc.core.defects import Defect, defect, message_of
from fastproc.core.evidence import Death
from fastproc.core.masking import masked

#: The message of a stage's own exception may be a whole photo.
MAX_MESSAGE_CHARS: Final = 8192


class FastprocError(Exception):
    """Something went wrong in fastproc."""


class TaskError(FastprocError):
    """A job's attempt failed; `code` says how, `retryable` whether another attempt can succeed.

    The message goes to the queue, the row, events and whoever looks: a server's words may quote a signed URL, which is
    masked here, once for all of them. Each leaf class has its own `code`, so an error can cross a process boundary as
    (code, message), and `from_code` returns the same leaf.
    """

    code: ClassVar[str] = "PROCESSING_ERROR"
    retryable: ClassVar[bool] = True
    #: How the worker that held the photo ended, if one did.
    death: Death | None = None
    #: The exception that nobody expected behind it, if there is one.
    defect: Defect | None = None

    def __init__(self, message: str = "") -> None:
        # Masked before it is cut: half a secret has nothing around it that tells.
        message = masked(message[: 2 * MAX_MESSAGE_CHARS])[:MAX_MESSAGE_CHARS]
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])

    @property
    def message(self) -> str:
        return str(self.args[0])

    @property
    def reason(self) -> str:
        """`CODE: message`, the text of `failedReason`."""
        return f"{self.code}: {self.message}"


class JobError(TaskError):
    """The job itself is wrong."""

    retryable = False


class InvalidJob(JobError):
    """The job's data is not what the contract asks for."""

    code = "INVALID_JOB"


class BucketNotAllowed(JobError):
    """The job names a bucket that is not in ALLOWED_BUCKETS."""

    code = "BUCKET_NOT_ALLOWED"


class ObjectNotFound(JobError):
    """The photo is not in the object store."""

    code = "OBJECT_NOT_FOUND"


class SourceTooLarge(JobError):
    """The photo has more bytes than MAX_SOURCE_BYTES."""

    code = "SOURCE_TOO_LARGE"


class ImageError(TaskError):
    """The picture cannot be processed, now or later."""

    retryable = False


class UnsupportedFormat(ImageError):
    """The file is not in a format of ALLOWED_FORMATS."""

    code = "UNSUPPORTED_FORMAT"


class MimeMismatch(ImageError):
    """The object's content type names another format than its content has."""

    code = "MIME_MISMATCH"


class FileCorrupted(ImageError):
    """The file is damaged or cut short."""

    code = "FILE_CORRUPTED"


class ImageTooSmall(ImageError):
    """A side is shorter than MIN_SIDE_PX."""

    code = "IMAGE_TOO_SMALL"


class ImageTooLarge(ImageError):
    """The picture has more pixels than the limits allow."""

    code = "IMAGE_TOO_LARGE"


class ImageTooComplex(ImageError):
    """The picture has more scans, frames or metadata than the limits allow."""

    code = "IMAGE_TOO_COMPLEX"


class PoisonPhoto(ImageError):
    """The photo killed or hung its worker twice."""

    code = "POISON_PHOTO"


class WorkerError(TaskError):
    """The worker process did not complete the task."""


class WorkerCrashed(WorkerError):
    """The worker process died during the task."""

    code = "WORKER_CRASHED"


class WorkerTimeout(WorkerError):
    """The task ran past its deadline and its worker was killed."""

    code = "WORKER_TIMEOUT"


class WorkerOutOfMemory(WorkerError):
    """The task needed more memory than a worker may use."""

    code = "WORKER_OUT_OF_MEMORY"


class WorkerKilled(WorkerError):
    """The worker was killed from outside (SIGKILL) during the task: no evidence against the photo."""

    code = "WORKER_KILLED"


class ProcessingError(WorkerError):
    """The pipeline failed in a way that has no code of its own."""

    code = "PROCESSING_ERROR"

    @classmethod
    def unexpected(cls, error: BaseException, stage: str = "", hint: str = "") -> ProcessingError:
        """Return the error for an exception that nobody expected, with where it comes from, and what may help."""
        words = f"{type(error).__name__}: {message_of(error)}"
        made = cls(f"{words[: MAX_MESSAGE_CHARS - len(hint)]}{hint}")
        made.defect = defect(error, stage)
        return made


class ServiceError(TaskError):
    """A server that the job needs did not do its part. `of_host`: this host had no descriptor or memory to ask it."""

    of_host = False


class StorageUnavailable(ServiceError):
    """The object store did not answer as it should."""

    code = "STORAGE_UNAVAILABLE"


class DatabaseUnavailable(ServiceError):
    """The metadata database did not answer as it should."""

    code = "DATABASE_UNAVAILABLE"


class KernelRefuses(ServiceError):
    """The kernel has no memory, descriptors or processes now: jobs go back, so no job ends with this."""


class RowRefused(ServiceError):
    """The metadata database refuses the photo's row: a constraint, a trigger or a type."""

    code = "ROW_REFUSED"
    retryable = False


class Cancelled(TaskError):
    """An operator has cancelled the job."""

    code = "CANCELLED"
    retryable = False


class QueueUnavailable(FastprocError):
    """Redis did not answer: the outcome of the call is unknown."""


class QueueRefused(QueueUnavailable):
    """Redis refused, or was never asked: nothing was done, but for a script that failed half-way (`in_part`)."""

    def __init__(self, message: str, *, in_part: bool = False) -> None:
        super().__init__(message)
        self.in_part = in_part


class NeighbourAway(FastprocError):
    """A server that the job needs is away: the job goes back to the queue, and no attempt is counted.

    For `aside_s` seconds it must not be taken again, so that other jobs show whether the server works; 0: it may.
    """

    def __init__(self, message: str, aside_s: float = 0.0) -> None:
        super().__init__(message)
        self.aside_s = aside_s


class LockLost(FastprocError):
    """The job's lock is gone or belongs to another worker: the job is no longer ours. `is_told`: the log has it."""

    def __init__(self, message: str = "", *, is_told: bool = False) -> None:
        super().__init__(message)
        self.is_told = is_told


class ConfigError(FastprocError):
    """The configuration is wrong. `problems` lists all of them, each beginning with its variable's name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unreachable(FastprocError):
    """A server was not reachable at start. The message names the variable to look at."""


class FleetHalted(FastprocError):
    """Workers die before they are ready: the deployment is broken, no job is to blame."""


def _leaves(root: type[TaskError]) -> dict[str, type[TaskError]]:
    found: dict[str, type[TaskError]] = {}
    for child in root.__subclasses__():
        found |= _leaves(child)
        if "code" in vars(child):
            found[child.code] = child
    return found


#: code -> class, for every code of the contract.
BY_CODE: dict[str, type[TaskError]] = _leaves(TaskError)

#: Errors that count as a worker's death by its photo: the second makes the photo the suspect (`core.retry`).
DEADLY = frozenset({WorkerCrashed.code, WorkerTimeout.code, WorkerOutOfMemory.code})


def from_code(code: str, message: str, stage: str = "") -> TaskError:
    """Return the leaf named by `code`; an unknown code becomes PROCESSING_ERROR with the code in its text.

    What is wrong with a picture is said in its own words; what went wrong in a `stage` of ours needs its place.
    """
    leaf = BY_CODE.get(code)
    if stage and not (leaf and issubclass(leaf, ImageError)):
        where = f" (in {stage})"
        message = f"{message[: MAX_MESSAGE_CHARS - len(where)]}{where}"
    return leaf(message) if leaf else ProcessingError(f"{code}: {message}")
