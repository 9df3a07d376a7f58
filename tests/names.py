"""How tests are named after their parameters: briefly, because a name is copied wherever its test is spoken of.

Rule 1: a test with a long text or file as a parameter gets the parameter's own name and a number. Before 9.2 pytest
        made the whole value a part of the name: 64 MB of zeros are 256 MB there, and again in each process of a
        parallel run, each report, and the list of names in its cache, which every later run reads.
Rule 2: no name is longer than `LONGEST`, wherever it comes from (`ids=`): such a test fails before it runs. (Refused as
        a whole, a parallel run ends with nothing said: its processes collect, and their words are lost.)
"""

from __future__ import annotations

import pytest

#: pytest's own bound since 9.2, there of the value; here of the text that it becomes.
LONG = 100
#: The longest sentence in tests/ has 122 characters; two parameters may follow.
LONGEST = 350


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    long = isinstance(val, str | bytes) and (len(val) > LONG or len(ascii(val)) > LONG)
    return argname if long else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if len(item.name) > LONGEST:
        pytest.fail(f"the name of this test has over {LONGEST} characters: give it a short id", pytrace=False)
