"""Until when a presigned URL works."""

from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config

from rhapsode.outbound.sigv4 import expiry_of

MOMENT = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
S3 = "X-Amz-Date=20260102T030405Z&X-Amz-Signature=ab"


@pytest.mark.parametrize(
    ("query", "expiry"),
    [
        (f"{S3}&X-Amz-Expires=60", MOMENT),
        (
            f"{S3.lower().replace('20260102t030405z', '20260102T030405Z')}&x-amz-expires=60",
            MOMENT,
        ),
        ("X-Goog-Date=20260102T030405Z&X-Goog-Expires=60&X-Goog-Signature=ab", MOMENT),
        ("AWSAccessKeyId=a&Signature=b&Expires=1767323105", MOMENT),
        ("sv=2024-01-01&se=2026-01-02T03%3A05%3A05Z&sig=ab", MOMENT),
        (S3, None),
        ("X-Amz-Date=20260102T030405Z&X-Amz-Expires=60", None),
        (f"{S3}&X-Amz-Expires=soon", None),
        (f"{S3}&X-Amz-Expires={10**30}", None),
        ("X-Amz-Date=today&X-Amz-Signature=ab&X-Amz-Expires=60", None),
        ("Expires=1767323105", None),
        ("v=2", None),
    ],
)
def test_expiry(query: str, expiry: datetime | None) -> None:
    assert expiry_of(f"https://bucket.example.org/key.wav?{query}") == expiry


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_what_boto_signs(version: str) -> None:
    client = boto3.client(
        "s3",
        region_name="eu-central-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(signature_version=version),
    )
    before = datetime.now(UTC)

    url = client.generate_presigned_url(
        "get_object", {"Bucket": "b", "Key": "k"}, ExpiresIn=3600
    )

    expiry = expiry_of(url)
    assert expiry is not None
    assert abs((expiry - before).total_seconds() - 3600) < 5
