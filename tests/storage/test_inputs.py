"""Links to recordings in S3, opened against a real server."""

from datetime import timedelta
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from rhapsode.domain.errors import Invalid
from rhapsode.storage.inputs import InputBuckets, parts_of
from tests.support.s3 import ACCESS_KEY, S3, SECRET_KEY

BUCKET = "tests"


def buckets(s3: S3, **changes: Any) -> InputBuckets:
    given = {
        "endpoint": s3.endpoint,
        "region": "us-east-1",
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
        "buckets": {BUCKET},
    }
    return InputBuckets(**{**given, **changes})


@pytest.mark.parametrize(
    "key",
    [
        "inputs/talk.wav",
        "inputs/über uns/Teil 1 (100%).wav",
        "inputs/a+b&c=d;e,f'g!h*i$j@k:l.wav",
        "inputs/what?is#this.wav",
        "inputs/%2e%41~_-.wav",
        "inputs/録音.wav",
    ],
)
def test_a_link_leads_to_the_object(s3_server: S3, key: str) -> None:
    s3_server.client().put_object(Bucket=BUCKET, Key=key, Body=key.encode())

    link = buckets(s3_server).sign(f"s3://{BUCKET}/{key}", timedelta(minutes=1))

    answer = httpx.get(link)
    assert (answer.status_code, answer.text) == (200, key)


def test_a_link_is_for_reading_one_object_for_some_time(s3_server: S3) -> None:
    s3_server.client().put_object(Bucket=BUCKET, Key="inputs/one.wav", Body=b"1")

    link = buckets(s3_server).sign(f"s3://{BUCKET}/inputs/one.wav", timedelta(minutes=1))

    assert "X-Amz-Expires=60" in link
    assert SECRET_KEY not in link
    assert httpx.put(link, content=b"2").status_code == 403
    assert httpx.get(link.replace("one.wav", "two.wav")).status_code == 403


def test_a_key_that_is_not_valid_opens_nothing(s3_server: S3) -> None:
    s3_server.client().put_object(Bucket=BUCKET, Key="inputs/one.wav", Body=b"1")
    wrong = buckets(s3_server, secret_access_key="not the secret")

    link = wrong.sign(f"s3://{BUCKET}/inputs/one.wav", timedelta(minutes=1))

    assert httpx.get(link).status_code == 403


@pytest.mark.parametrize("path_style", [True, False])
@pytest.mark.parametrize("endpoint", [None, "https://s3.example.org:8333"])
def test_the_address_is_the_one_that_amazons_client_makes(
    s3_server: S3, endpoint: str | None, path_style: bool
) -> None:
    reference = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="eu-west-3",
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if path_style else "virtual"},
        ),
    )
    expected = reference.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "a b/ü.wav"}, ExpiresIn=60
    )

    made = buckets(
        s3_server, endpoint=endpoint, region="eu-west-3", path_style=path_style
    ).sign(f"s3://{BUCKET}/a b/ü.wav", timedelta(minutes=1))

    assert made.partition("?")[0] == expected.partition("?")[0]


def test_s3_signs_for_seven_days_at_most(s3_server: S3) -> None:
    link = buckets(s3_server).sign(f"s3://{BUCKET}/a.wav", timedelta(days=30))

    assert "X-Amz-Expires=604799" in link


def test_other_buckets_stay_closed(s3_server: S3) -> None:
    with pytest.raises(Invalid, match="bucket 'private' may not be read") as refusal:
        buckets(s3_server).sign("s3://private/a.wav", timedelta(minutes=1))

    assert refusal.value.code == "bucket_closed"


def test_a_key_is_taken_as_it_is() -> None:
    assert parts_of("s3://bucket/a%20b/c?d#e") == ("bucket", "a%20b/c?d#e")


@pytest.mark.parametrize(
    "url", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://b/../c", "s3://b/a/./c"]
)
def test_what_is_no_object(url: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parts_of(url)

    assert refusal.value.code == "url_invalid"
