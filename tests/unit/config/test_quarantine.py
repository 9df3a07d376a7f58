"""The quarantine's settings: a folder, or a prefix in a bucket that jobs may name."""

from __future__ import annotations

import pytest

from fastproc.config.settings import load
from fastproc.core.errors import ConfigError


def test_a_quarantine_is_a_folder_or_a_prefix_in_a_bucket() -> None:
    folder = load({"QUARANTINE": "./bad"}, 1).quarantine
    assert (folder.place, folder.bucket, folder.prefix) == ("./bad", "", "")
    prefix = load({"QUARANTINE": "s3://photos/a/b/"}, 1).quarantine
    assert (prefix.bucket, prefix.prefix) == ("photos", "a/b")
    with pytest.raises(ConfigError) as caught:
        load({"QUARANTINE": "s3://x/y"}, 1)
    assert caught.value.problems == ["QUARANTINE: bucket 'x' is not in ALLOWED_BUCKETS"]
