"""Values as text: what is secret is hidden, however it is written."""

from __future__ import annotations

import pytest

from fastproc.config import values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:hush@h:1/0", "redis://me:********@h:1/0"),
        ("redis://:hush@h", "redis://:********@h"),
        ("redis://me:12/hush@h:1", "redis://me:********@h:1"),
        ("redis://me:a@hush@h", "redis://me:********@h"),
        ("redis+sentinel://me:hush@a:1,b:2/m", "redis+sentinel://me:********@a:1,b:2/m"),
        ("redis://h/0?db=1&password=hush#x", "redis://h/0?db=1&password=********#x"),
        (
            "postgresql:///db?host=/run&sslpassword=hush&user=me",
            "postgresql:///db?host=/run&sslpassword=********&user=me",
        ),
        ("postgresql://h/db?p%61ssword=hush", "postgresql://h/db?p%61ssword=********"),
        ("postgresql://me:hu?sh@h/db", "postgresql://me:********@h/db"),
        ("redis://me@h:1", "redis://me@h:1"),
        ("https://cdn.example/photos", "https://cdn.example/photos"),
        ("https://cdn.example/a@2x", "https://cdn.example/a@2x"),
        ("sqlite:////x/a:b@c.db", "sqlite:////x/a:b@c.db"),
        ("a:b@c", "a:b@c"),
    ],
)
def test_the_password_of_a_url_is_masked_and_nothing_else(text: str, shown: str) -> None:
    assert values.masked(text, secret=False) == shown


def test_a_secret_is_masked_whole_and_its_length_is_not_shown() -> None:
    assert values.masked("hush", secret=True) == values.masked("hush-hush", secret=True) == "********"
    assert values.masked("", secret=True) == ""
