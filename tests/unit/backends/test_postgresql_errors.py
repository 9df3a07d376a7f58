"""What an error of PostgreSQL says of the row and of the server."""

from __future__ import annotations

import pytest

from fastproc.backends.postgresql_errors import Verdict, remedy, verdict


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (None, Verdict.AWAY),
        ("", Verdict.AWAY),
        ("08006", Verdict.AWAY),
        ("22001", Verdict.REFUSED),  # string_data_right_truncation
        ("22P05", Verdict.REFUSED),  # untranslatable_character
        ("23505", Verdict.REFUSED),  # unique_violation
        ("25006", Verdict.AWAY),  # read_only_sql_transaction
        ("25P03", Verdict.AWAY),  # idle_in_transaction_session_timeout
        ("40001", Verdict.BUSY),  # serialization_failure
        ("40002", Verdict.REFUSED),  # transaction_integrity_constraint_violation
        ("40P01", Verdict.BUSY),  # deadlock_detected
        ("42501", Verdict.ALONE),  # insufficient_privilege, also of a policy that concerns one row
        ("42703", Verdict.ALONE),  # undefined_column, also of a trigger
        ("45000", Verdict.REFUSED),
        ("53100", Verdict.AWAY),  # disk_full
        ("53300", Verdict.AWAY),  # too_many_connections
        ("54000", Verdict.REFUSED),  # program_limit_exceeded: a value too long for its index
        ("55P03", Verdict.BUSY),  # lock_not_available
        ("55000", Verdict.ALONE),  # object_not_in_prerequisite_state
        ("57014", Verdict.BUSY),  # query_canceled
        ("57P01", Verdict.AWAY),  # admin_shutdown
        ("57P03", Verdict.AWAY),  # cannot_connect_now
        ("58030", Verdict.AWAY),  # io_error
        ("72000", Verdict.ALONE),  # snapshot_too_old
        ("P0001", Verdict.REFUSED),  # raise_exception
        ("U0001", Verdict.REFUSED),  # a trigger's own
        ("XX000", Verdict.AWAY),
        ("0A000", Verdict.ALONE),
        ("HV000", Verdict.ALONE),
    ],
)
def test_a_code_has_one_verdict(code: str | None, found: Verdict) -> None:
    assert verdict(code) is found


def test_an_unknown_failure_has_no_remedy_and_a_known_one_has() -> None:
    assert remedy("something else") == ""
    assert "user name and password" in remedy('FATAL:  password authentication failed for user "me"')
