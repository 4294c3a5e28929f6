"""The user's own S3: what is in it, and links to it. boto3 is loaded here and nowhere else."""

import mimetypes
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rhapsode.domain.errors import Denied, DomainError, Invalid, NotFound, Unavailable
from rhapsode.domain.urls import checked_web_url, shown

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

LONGEST_LINK_SECONDS = 7 * 24 * 3600 - 1
"""What S3 signs for at most."""

_FEW = 20
_SOUND = (
    *(".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".avi", ".caf", ".dts", ".flac"),
    *(".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg", ".ogv", ".opus", ".ra", ".rm", ".spx"),
    *(".vob", ".wav", ".weba", ".webm", ".wma", ".wmv", ".wv"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach an S3 server, and with whose key.

    Without a profile, `S3_ACCESS_KEY` and `S3_SECRET_KEY` count, then whatever Amazon's own
    tools would take. Without an endpoint it is Amazon's, by virtual host.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    virtual_host: bool | None = None

    @property
    def style(self) -> str:
        """Whether the bucket is named in the path or in the host name."""
        by_host = self.endpoint is None if self.virtual_host is None else self.virtual_host
        return "virtual" if by_host else "path"


class Store:
    """Objects of an S3 server. Its methods block; every failure leaves as a domain error."""

    def __init__(self, access: Access, link_seconds: float = LONGEST_LINK_SECONDS) -> None:
        from botocore import UNSIGNED

        if access.endpoint is not None:
            checked_web_url(access.endpoint, "The S3 endpoint")
        self._bases: dict[str, str] = {}
        self._seconds = int(min(link_seconds, LONGEST_LINK_SECONDS))
        with _translated():
            self._client = _client(access, "s3v4")
            self._unsigned = _client(access, UNSIGNED)

    def address(self, bucket: str, key: str) -> str:
        """The object's URL without a signature, as the server shows it."""
        if bucket not in self._bases:
            link = self._link(self._unsigned, "get_object", bucket, "x")
            self._bases[bucket] = link.partition("?")[0].removesuffix("x")
        return shown(self._bases[bucket] + quote(key, safe="/~"))

    def below(self, bucket: str, prefix: str) -> str:
        """What the addresses of all objects under a prefix begin with."""
        return self.address(bucket, f"{prefix}x").removesuffix("x")

    def get_link(self, bucket: str, key: str) -> str:
        """A presigned URL to read an object."""
        return self._link(self._client, "get_object", bucket, key)

    def put_link(self, bucket: str, key: str) -> str:
        """A presigned URL to write an object."""
        return self._link(self._client, "put_object", bucket, key)

    def _link(self, client: Any, action: str, bucket: str, key: str) -> str:
        with _translated(bucket):
            place = {"Bucket": bucket, "Key": key}
            return str(
                client.generate_presigned_url(action, Params=place, ExpiresIn=self._seconds)
            )

    def ensure_bucket(self, bucket: str) -> None:
        """NotFound where there is no such bucket, Denied where the key is not valid at all.

        That a key may not list a bucket is fine: it may still read and write objects.
        """
        try:
            with _translated(bucket):
                self._client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        except Denied as denied:
            if denied.code != "s3_denied" or "AccessDenied" not in denied.message:
                raise

    def exists(self, bucket: str, key: str) -> bool:
        """Whether there is such an object; True, too, where that may not be asked."""
        try:
            return self._head(bucket, key) is not None
        except Denied:
            return True

    def present(self, bucket: str, keys: Collection[str]) -> set[str]:
        """Which of these objects are there, as far as that may be asked."""
        try:
            if len(keys) <= _FEW:
                return {key for key in keys if self._head(bucket, key)}
            common = os.path.commonprefix(list(keys))  # noqa: RUF071 (keys are no paths)
            return {key for key, _ in self._listed(bucket, common)} & set(keys)
        except Denied:
            return set()

    def recordings(self, bucket: str, prefix: str) -> Iterator[str]:
        """The keys under a prefix that are sound or video, by their suffix or content type.

        Empty ones, too: that such a recording cannot be transcribed must not go unnoticed.
        """
        for key, _ in self._listed(bucket, prefix):
            if self._is_recording(bucket, key):
                yield key

    def _listed(self, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
        with _translated(bucket):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    yield item["Key"], item["Size"]

    def _is_recording(self, bucket: str, key: str) -> bool:
        suffix = os.path.splitext(key)[1].lower()  # noqa: PTH122 (a key is no path)
        if suffix in _SOUND:
            return True
        guessed = mimetypes.guess_type(f"x{suffix}")[0] if suffix else None
        if guessed is None:
            guessed = str((self._head(bucket, key) or {}).get("ContentType", ""))
        return guessed.startswith(("audio/", "video/"))

    def _head(self, bucket: str, key: str) -> dict[str, Any] | None:
        """What the server says of an object, None where there is none."""
        from botocore.exceptions import ClientError

        with _translated(bucket):
            try:
                return dict(self._client.head_object(Bucket=bucket, Key=key))
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status == 404:
                    return None
                raise


def _client(access: Access, signature: Any) -> Any:
    import boto3
    from botocore.config import Config

    return _session(boto3, access).client(
        "s3",
        endpoint_url=access.endpoint,
        config=Config(
            signature_version=signature,
            s3={"addressing_style": access.style},
            connect_timeout=10,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 4},
        ),
    )


def _session(boto3: Any, access: Access) -> Any:
    key, secret = os.environ.get("S3_ACCESS_KEY"), os.environ.get("S3_SECRET_KEY")
    given: dict[str, Any] = {"profile_name": access.profile}
    if access.profile is None and key and secret:
        given = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    region = access.region or boto3.Session(profile_name=access.profile).region_name
    return boto3.Session(**given, region_name=region or "us-east-1")


@contextmanager
def _translated(bucket: str = "") -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refusal(error, bucket) from error
    except (BotoCoreError, ValueError) as error:
        raise _fault(error) from error


def _refusal(error: "ClientError", bucket: str) -> DomainError:
    """What the S3 server said no with."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in {"NoSuchBucket", "404"}:
        return NotFound("no_bucket", f"There is no bucket '{bucket}'.")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status in {401, 403}:
        return Denied(
            "s3_denied",
            f"The S3 server refuses access to the bucket '{bucket}' ({code}).",
            hint="Check S3_ACCESS_KEY and S3_SECRET_KEY, or --profile, and --region.",
        )
    return Unavailable("s3_unavailable", f"The S3 server answered {status} ({code}).")


def _fault(error: "BotoCoreError | ValueError") -> DomainError:
    """What kept us from asking it at all."""
    name = type(error).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}:
        return Denied(
            "s3_credentials",
            f"There is no key for S3: {error}.".replace("..", "."),
            hint="Set S3_ACCESS_KEY and S3_SECRET_KEY, or use --profile.",
        )
    if isinstance(error, ValueError) or name in {"ParamValidationError", "InvalidRegionError"}:
        return Invalid("s3_address", " ".join(str(error).split())[:300])
    return Unavailable("s3_unavailable", f"The S3 server cannot be reached: {error}")
