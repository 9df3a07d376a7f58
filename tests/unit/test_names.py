"""A test's name stays short whatever its parameters are, or the test fails."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests import names


@pytest.mark.parametrize("data", ["x" * 5_000_000, b"\0" * (names.LONG // 2), b"JFIF"])
def test_a_long_value_is_named_by_its_parameter_and_a_short_one_by_itself(
    request: pytest.FixtureRequest, data: str | bytes
) -> None:
    name = request.node.name.partition("[")[2]
    assert name == "JFIF]" if data == b"JFIF" else name in ("data0]", "data1]")


@pytest.mark.parametrize(("length", "fails"), [(names.LONGEST, False), (names.LONGEST + 1, True)])
def test_a_test_with_a_longer_name_fails(length: int, fails: bool) -> None:
    try:
        names.pytest_runtest_setup(SimpleNamespace(name="x" * length))
    except pytest.fail.Exception:
        assert fails
    else:
        assert not fails
