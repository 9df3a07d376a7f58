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
        ("redis://h/0?db=1&password=hush#x", "redis://h/0?db=1&password=********"),
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
        # Without a scheme, or with half of one.
        ("me:hush@h:1", "me:********@h:1"),
        (":hush@h", ":********@h"),
        ("me:hu sh@h", "me:********@h"),
        ("redis:me:hush@h", "redis:********@h"),
        ("redis:/me:hush@h", "redis:********@h"),
        ("//me:hush@h", "//me:********@h"),
        ("h:6379/0?password=hush", "h:6379/0?password=********"),
        # What cannot be read.
        ("redis://me:hush", "redis://me:********"),
        ("redis://me:hush/0", "redis://me:********/0"),
        ("redis://[::1:hush@", "redis://[:********@"),
        ("redis://me:h%zz@h:x", "redis://me:********@h:x"),
        ("redis://h:70000/0", "redis://h:70000/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        # Every name that a client reads a secret from.
        (
            "redis+sentinel://a:1,b:2/m?sentinel_password=hush&x=1",
            "redis+sentinel://a:1,b:2/m?sentinel_password=********&x=1",
        ),
        ("redis://h?PASSWORD=hush", "redis://h?PASSWORD=********"),
        ("redis://h?Sentinel%5Fpassword=hush", "redis://h?Sentinel%5Fpassword=********"),
        ("redis://h?password=h;u#s@h", "redis://h?password=********"),
        ("redis://h?password=h,u'sh&db=1", "redis://h?password=********&db=1"),
        ("host=h user=me password=hush", "host=h user=me password=********"),
        ("host=h password='hu sh' user=me", "host=h password=******** user=me"),
        (
            "https://h/x?X-Amz-Signature=hush&X-Amz-Credential=hush",
            "https://h/x?X-Amz-Signature=********&X-Amz-Credential=********",
        ),
        ("http://proxy:hush@h:3128", "http://proxy:********@h:3128"),
    ],
)
def test_the_password_of_a_url_is_masked_and_nothing_else(text: str, shown: str) -> None:
    assert values.masked(text, secret=False) == shown


def test_a_secret_is_masked_whole_and_its_length_is_not_shown() -> None:
    assert values.masked("hush", secret=True) == values.masked("hush-hush", secret=True) == "********"
    assert values.masked("", secret=True) == ""
