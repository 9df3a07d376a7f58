"""A test's name stays short whatever its parameters are, or the run says which name does not."""

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


def test_a_run_with_a_longer_name_does_not_begin_and_shows_the_name_in_short() -> None:
    good, long = (SimpleNamespace(name=name, nodeid=name) for name in ("good", "x" * 100_000))
    with pytest.raises(pytest.UsageError) as raised:
        names.pytest_collection_modifyitems([good, long])
    said = "\n".join(raised.value.args)
    assert "x..." in said
    assert "good" not in said
    assert len(said) < 2 * names.LONGEST


def test_a_run_with_names_of_the_bound_begins() -> None:
    names.pytest_collection_modifyitems([SimpleNamespace(name="x" * names.LONGEST, nodeid="x")])
