"""The settings of what is written: headers as S3 reads them, and what contradicts itself."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from fastproc.config.settings import load
from fastproc.config.uploads import UploadConfig
from fastproc.core.errors import ConfigError


def problems(**env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(env, 1)
    return caught.value.problems


def test_unset_nothing_is_added_to_an_upload() -> None:
    found = load({}, 1).uploads
    assert (found.attributes, found.encryption, found.buckets, found.is_set) == ({}, {}, (), False)
    assert not load({"UPLOAD_KEY_TEMPLATE": "{photoId}/{name}"}, 1).uploads.is_set


def test_attributes_become_headers_and_encryption_alone_goes_with_everything() -> None:
    found = load(
        {
            "UPLOAD_CACHE_CONTROL": "public, max-age=31536000, immutable",
            "UPLOAD_ACL": "bucket-owner-full-control",
            "UPLOAD_STORAGE_CLASS": "INTELLIGENT_TIERING",
            "UPLOAD_TAGS": "team=a b,cost+x=ä/1",
            "UPLOAD_SSE": "aws:kms",
            "UPLOAD_SSE_KMS_KEY_ID": "arn:aws:kms:eu-west-1:1:key/2",
            "UPLOAD_SSE_BUCKET_KEY": "true",
        },
        1,
    ).uploads
    encryption = {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:1:key/2",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
    }
    assert found.encryption == encryption
    tagging = found.attributes["x-amz-tagging"]
    assert parse_qs(tagging) == {"team": ["a b"], "cost+x": ["ä/1"]}
    assert found.attributes == encryption | {
        "Cache-Control": "public, max-age=31536000, immutable",
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-storage-class": "INTELLIGENT_TIERING",
        "x-amz-tagging": tagging,
    }
    assert UploadConfig(sse="aes256").encryption == {"x-amz-server-side-encryption": "AES256"}


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"UPLOAD_BUCKET": "a/b"}, "UPLOAD_BUCKET: 'a/b' is not a bucket name"),
        (
            {"UPLOAD_CACHE_CONTROL": "a\r\nx-amz-acl: public-read"},
            "UPLOAD_CACHE_CONTROL: expected at most 512",
        ),
        ({"UPLOAD_ACL": "public"}, "UPLOAD_ACL: expected one of private, public-read"),
        ({"UPLOAD_ACL": "public-read-write"}, "UPLOAD_ACL: expected one of"),
        ({"UPLOAD_STORAGE_CLASS": "standard"}, "UPLOAD_STORAGE_CLASS: expected capital letters"),
        ({"UPLOAD_STORAGE_CLASS": "DEEP_ARCHIVE"}, "UPLOAD_STORAGE_CLASS: renditions in an archive"),
        ({"UPLOAD_TAGS": "a"}, "UPLOAD_TAGS: expected key=value"),
        ({"UPLOAD_TAGS": "=a"}, "UPLOAD_TAGS: expected key=value"),
        ({"UPLOAD_TAGS": "a=b&c"}, "UPLOAD_TAGS: expected key=value"),
        ({"UPLOAD_TAGS": "a=1,a=2"}, "UPLOAD_TAGS: two tags have the same key"),
        ({"UPLOAD_TAGS": ",".join(f"k{n}=v" for n in range(11))}, "UPLOAD_TAGS: expected at most 10"),
        ({"UPLOAD_TAGS": "k=" + "v" * 257}, "UPLOAD_TAGS: expected key=value"),
        ({"UPLOAD_SSE": "kms"}, "UPLOAD_SSE: expected one of aes256, aws:kms, aws:kms:dsse"),
        ({"UPLOAD_SSE_KMS_KEY_ID": "k"}, "UPLOAD_SSE_KMS_KEY_ID: it needs UPLOAD_SSE=aws:kms"),
        ({"UPLOAD_SSE": "AES256", "UPLOAD_SSE_BUCKET_KEY": "true"}, "UPLOAD_SSE_BUCKET_KEY: it needs"),
        ({"UPLOAD_KEY_TEMPLATE": "{photoId}"}, "UPLOAD_KEY_TEMPLATE: it lacks {name}"),
        (
            {"UPLOAD_KEY_TEMPLATE": "{photoId}/{name}", "THUMBNAILS": "optimized:9:9"},
            "UPLOAD_KEY_TEMPLATE: thumbnails optimized and optimization optimized could have one key",
        ),
        (
            {"UPLOAD_KEY_TEMPLATE": "{photoId}_{name}", "THUMBNAILS": "sm:9:9,x_sm:8:8"},
            "UPLOAD_KEY_TEMPLATE: thumbnails sm and thumbnails x_sm could have one key, of one photo or of two",
        ),
        (
            {"UPLOAD_KEY_TEMPLATE": "{photoId}/{name}", "PIPELINE": "validation,square"},
            "UPLOAD_KEY_TEMPLATE: it lacks {stage}, which the renditions of stage 'square' need",
        ),
    ],
    ids=lambda value: str(value)[:100],
)
def test_what_cannot_work_is_refused_with_its_variable(env: dict[str, str], problem: str) -> None:
    found = problems(**env)
    assert [each for each in found if each.startswith(problem)], found


def test_a_template_may_repeat_a_name_that_the_pipeline_does_not_make() -> None:
    env = {"UPLOAD_KEY_TEMPLATE": "{photoId}/{name}", "THUMBNAILS": "optimized:9:9"}
    assert load({**env, "PIPELINE": "validation,thumbnails"}, 1).uploads.results.template
