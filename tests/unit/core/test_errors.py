"""The codes of the contract: which there are, which may be tried again, and that they survive the wire."""

from __future__ import annotations

import pytest

from fastproc.core import errors
from fastproc.core.errors import BY_CODE, ProcessingError, TaskError, from_code

#: The contract's two lists of codes, written by hand: a change here is a change of the contract.
NOT_RETRYABLE = {
    "CANCELLED",
    "INVALID_JOB",
    "BUCKET_NOT_ALLOWED",
    "OBJECT_NOT_FOUND",
    "UNSUPPORTED_FORMAT",
    "MIME_MISMATCH",
    "FILE_CORRUPTED",
    "IMAGE_TOO_SMALL",
    "IMAGE_TOO_LARGE",
    "IMAGE_TOO_COMPLEX",
    "SOURCE_TOO_LARGE",
    "POISON_PHOTO",
    "ROW_REFUSED",
}
RETRYABLE = {
    "STORAGE_UNAVAILABLE",
    "DATABASE_UNAVAILABLE",
    "WORKER_CRASHED",
    "WORKER_TIMEOUT",
    "WORKER_OUT_OF_MEMORY",
    "WORKER_KILLED",
    "PROCESSING_ERROR",
}


def test_every_code_of_the_contract_exists_and_no_other() -> None:
    assert set(BY_CODE) == NOT_RETRYABLE | RETRYABLE


@pytest.mark.parametrize("code", sorted(NOT_RETRYABLE | RETRYABLE))
def test_a_code_is_as_retryable_as_the_contract_says(code: str) -> None:
    assert BY_CODE[code].retryable is (code in RETRYABLE)


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_an_error_comes_back_from_its_code_as_the_same_leaf(code: str) -> None:
    error = from_code(code, "what happened")
    assert type(error) is BY_CODE[code]
    assert (error.code, error.message, error.reason) == (code, "what happened", f"{code}: what happened")


def test_an_unknown_code_becomes_a_processing_error_that_names_it() -> None:
    error = from_code("NO_SUCH_CODE", "what happened")
    assert type(error) is ProcessingError
    assert error.message == "NO_SUCH_CODE: what happened"


@pytest.mark.parametrize("leaf", BY_CODE.values(), ids=BY_CODE.keys())
def test_an_error_without_a_message_uses_its_docstring(leaf: type[TaskError]) -> None:
    assert leaf.__doc__
    assert leaf().message == leaf.__doc__.splitlines()[0]


def test_an_error_that_is_not_about_the_job_is_no_task_error() -> None:
    for kind in (errors.QueueUnavailable, errors.LockLost, errors.ConfigError, errors.FleetHalted):
        assert not issubclass(kind, TaskError)


def test_a_config_error_has_one_line_for_every_problem() -> None:
    error = errors.ConfigError(["A: wrong", "B: wrong too"])
    assert str(error).splitlines() == error.problems == ["A: wrong", "B: wrong too"]


def test_no_message_of_a_job_has_a_secret_in_it() -> None:
    signed = "http://s3/b/k?X-Amz-Signature=hush&X-Amz-Credential=hush%2Fs3"
    for error in (
        from_code("STORAGE_UNAVAILABLE", f"GET 'b/k': 403 AccessDenied {signed}"),
        from_code("PROCESSING_ERROR", "KeyError: redis://me:hush@h", "ocr"),
        ProcessingError.unexpected(ValueError(signed)),
    ):
        assert "********" in error.reason
        assert "hush" not in error.reason + str(error)


@pytest.mark.parametrize(
    "secret", ['"password": "hushhush"', "postgresql://me:hush/hush@h", " a me:hushhush@h"]
)
def test_a_secret_at_the_end_of_what_is_kept_of_a_message_is_hidden(secret: str) -> None:
    for at in range(errors.MAX_MESSAGE_CHARS - 40, errors.MAX_MESSAGE_CHARS):
        assert "hush" not in ProcessingError(f"{'x ' * (at // 2)}{secret} and more").message


def test_a_long_message_keeps_its_stage_and_its_hint() -> None:
    long = "x" * 2 * errors.MAX_MESSAGE_CHARS
    assert from_code("PROCESSING_ERROR", long, "ocr").message.endswith("x (in ocr)")
    assert ProcessingError.unexpected(ValueError(long), hint="; a hint").message.endswith("x; a hint")


def test_a_message_as_long_as_a_photo_is_cut() -> None:
    assert len(ProcessingError.unexpected(ValueError("x" * 1_000_000)).message) == errors.MAX_MESSAGE_CHARS
