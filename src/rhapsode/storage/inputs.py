"""Buckets that hold recordings of others: links by which one of their objects can be read."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlsplit

from rhapsode.domain.errors import Invalid
from rhapsode.domain.urls import MAX_URL_CHARACTERS

SCHEME = "s3://"

LONGEST_LINK = timedelta(days=7) - timedelta(seconds=1)
"""What S3 signs for at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBuckets:
    """An S3 server, a key to it, and the buckets that may be read by it."""

    endpoint: str | None
    region: str
    access_key_id: str
    secret_access_key: str
    path_style: bool = True
    buckets: Collection[str] = ()

    def sign(self, url: str, holds: timedelta) -> str:
        """An http(s) link to the object of an `s3://` URL; its signature holds for so long."""
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        bucket, key = parts_of(url)
        self.ensure_readable(bucket)
        request = AWSRequest("GET", self._address(bucket, key))
        credentials = Credentials(self.access_key_id, self.secret_access_key)
        seconds = int(min(holds, LONGEST_LINK).total_seconds())
        S3SigV4QueryAuth(credentials, "s3", self.region, expires=seconds).add_auth(request)
        return str(request.url)

    def ensure_readable(self, bucket: str) -> None:
        """Invalid where the operator did not open this bucket to users."""
        if bucket not in self.buckets:
            raise Invalid(
                "bucket_closed",
                f"Recordings in the bucket '{bucket[:80]}' may not be read here.",
                hint="The operator opens buckets by the setting s3_input.buckets; "
                "a presigned https:// URL works without.",
            )

    def _address(self, bucket: str, key: str) -> str:
        base = (self.endpoint or f"https://s3.{self.region}.amazonaws.com").rstrip("/")
        path = quote(key, safe="/~")
        if self.path_style:
            return f"{base}/{bucket}/{path}"
        parts = urlsplit(base)
        return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}/{path}"


def parts_of(url: str) -> tuple[str, str]:
    """Bucket and key of `s3://BUCKET/KEY`; the key is taken as it is, nothing is decoded."""
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not bucket or not key or len(url) > MAX_URL_CHARACTERS:
        raise Invalid(
            "url_invalid", "The input is no s3:// URL.", hint="It looks like s3://BUCKET/KEY."
        )
    if {".", ".."} & set(key.split("/")):
        raise Invalid(
            "url_invalid",
            "The key in the s3:// URL has '.' or '..' for a folder, which no link can carry.",
            hint="Copy the object to another key.",
        )
    return bucket, key


def switched_off() -> Invalid:
    """The operator configured no key for `s3://`."""
    return Invalid(
        "s3_input_off",
        "This server has no key to read s3:// URLs with.",
        hint="Give a presigned https:// URL, or ask the operator for the settings s3_input.",
    )
