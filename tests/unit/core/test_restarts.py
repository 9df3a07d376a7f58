"""When a supervisor starts, starts again, and ends the service."""

from __future__ import annotations

import pytest

from fastproc.core.restarts import FAILURES, LONGEST_PAUSE_S, YOUNG_S, Cause, Halt, Restarts


def running(count: int) -> Restarts:
    """All serve since 0 s."""
    table = Restarts(count)
    for number in range(1, count + 1):
        table.started(number, 0.0)
        table.served(number)
    return table


def end(table: Restarts, number: int, cause: Cause, now: float) -> Halt | None:
    return table.ended(number, cause, "how", now, 0.0)


def again(table: Restarts, number: int) -> float:
    """Start it when it is due; return when that is."""
    at = table.next_at()
    assert at is not None
    assert table.due(at) == [number]
    assert table.started(number, at)
    return at


def test_the_others_start_when_the_first_serves() -> None:
    table = Restarts(3)
    assert table.due(0.0) == [1]
    assert table.started(1, 0.0) is False
    assert (table.due(9.0), table.next_at()) == ([], None)
    table.served(1)
    assert table.due(9.0) == [2, 3]


def test_one_that_is_killed_starts_again_after_a_pause() -> None:
    table = running(2)
    assert end(table, 2, Cause.KILLED, 100.0) is None
    assert (table.serving, table.due(100.0)) == (1, [])
    assert again(table, 2) == pytest.approx(100.2)
    assert table.restarted == 1


def test_the_pauses_double_while_it_does_not_last() -> None:
    table, now, pauses = running(2), 100.0, []
    for _ in range(FAILURES - 1):
        assert end(table, 2, Cause.KILLED, now) is None
        at = again(table, 2)
        pauses.append(at - now)
        now = at
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6])


def test_one_that_does_not_last_ends_the_service() -> None:
    table, now = running(2), 100.0
    for _ in range(FAILURES - 1):
        assert end(table, 2, Cause.KILLED, now) is None
        now = again(table, 2)
    halt = end(table, 2, Cause.KILLED, now)
    assert halt == Halt(Cause.HALTED, "supervisor 2 did not last 30 s 5 times in a row: how", told=False)


def test_one_that_lasted_has_no_history() -> None:
    table, now = running(2), 100.0
    for _ in range(3 * FAILURES):
        assert end(table, 2, Cause.KILLED, now) is None
        at = again(table, 2)
        assert at - now == pytest.approx(0.2)
        table.served(2)
        now = at + YOUNG_S + 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_wrong_setting_ends_the_service_whoever_finds_it(number: int) -> None:
    assert end(running(2), number, Cause.CONFIG, 100.0) == Halt(Cause.CONFIG, "how")


@pytest.mark.parametrize("cause", [Cause.UNREACHABLE, Cause.HALTED])
def test_a_start_that_fails_while_nobody_serves_ends_the_service_at_once(cause: Cause) -> None:
    table = Restarts(2)
    table.started(1, 0.0)
    assert end(table, 1, cause, 1.0) == Halt(cause, "how")


def test_a_server_that_is_away_is_waited_for_without_end_while_others_serve() -> None:
    table, now = running(2), 100.0
    for _ in range(3 * FAILURES):
        assert end(table, 2, Cause.UNREACHABLE, now) is None
        at = again(table, 2)
        assert at - now <= LONGEST_PAUSE_S + 0.001
        now = at


def test_one_that_was_asked_to_end_starts_again_at_once_however_often() -> None:
    table = running(2)
    for now in range(100, 100 + 3 * FAILURES):
        assert end(table, 2, Cause.ASKED, now) is None
        assert again(table, 2) == now
        table.served(2)


def test_one_that_ends_before_it_serves_is_a_failure_whatever_it_says() -> None:
    table, now = running(2), 100.0
    assert end(table, 2, Cause.ASKED, now) is None
    for _ in range(FAILURES - 1):
        now = again(table, 2)
        halt = end(table, 2, Cause.ASKED, now)
    assert halt is None
    now = again(table, 2)
    assert end(table, 2, Cause.ASKED, now) is not None


def test_a_process_that_the_kernel_refuses_is_no_failure() -> None:
    table = running(2)
    assert end(table, 2, Cause.KILLED, 100.0) is None
    for _ in range(3 * FAILURES):
        table.refused(2, 200.0, 0.0)
    at = again(table, 2)
    assert 200.0 < at <= 200.0 + LONGEST_PAUSE_S
    assert end(table, 2, Cause.KILLED, at) is None
