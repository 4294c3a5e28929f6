"""Deliveries by presigned URLs to a real S3 server, also by ones that expired meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from rhapsode.domain.deliveries import DeliveryState
from rhapsode.domain.formats import Format, render
from rhapsode.domain.jobs import JobState
from rhapsode.outbound.sigv4 import expiry_of
from rhapsode.services import deliveries, jobs
from tests.database import rows
from tests.support.delivering import (
    TEXT,
    TRANSCRIPT,
    delivering_settings,
    ended,
    sent,
    transcribed,
)
from tests.support.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.support.server import App, running_app

BUCKET = "tests"


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    async with running_app(delivering_settings(tmp_path, database_url)) as running:
        yield running


@pytest.fixture
def client(s3_server: S3) -> Any:
    """Presigns by signature version 4."""
    return client_of(s3_server, "s3v4")


def client_of(server: S3, signature: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(signature_version=signature, s3={"addressing_style": "path"}),
    )


def presigned(client: Any, key: str, seconds: int = 600) -> str:
    asked = {"Bucket": BUCKET, "Key": key}
    url: str = client.generate_presigned_url("put_object", Params=asked, ExpiresIn=seconds)
    return url


def stored(client: Any, key: str) -> tuple[str, bytes]:
    found = client.get_object(Bucket=BUCKET, Key=key)
    return found["ContentType"], found["Body"].read()


async def test_artifacts_are_objects_with_their_types(app: App, client: Any) -> None:
    folder = f"deliveries-{uuid4()}"
    names = [*map(str, Format), "meta"]
    outputs = {name: presigned(client, f"{folder}/{name}") for name in names}
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))

    assert (job.state, job.error) == (JobState.FINISHED, None)
    for item in Format:
        found = await asyncio.to_thread(stored, client, f"{folder}/{item}")
        assert found == (item.media_type, render(TRANSCRIPT, item).encode())
    media_type, record = await asyncio.to_thread(stored, client, f"{folder}/meta")
    assert (media_type, json.loads(record)["state"]) == ("application/json", "finished")


@pytest.mark.parametrize("content_type", [None, "text/plain; charset=utf-8"])
async def test_the_earlier_signature_works_too(
    app: App, s3_server: S3, content_type: str | None
) -> None:
    """It covers the content type, also that there is none; boto3 makes it by default."""
    key = f"deliveries-{uuid4()}/txt"
    asked = {"Bucket": BUCKET, "Key": key}
    if content_type is not None:
        asked["ContentType"] = content_type
    client = client_of(s3_server, "s3")
    url = client.generate_presigned_url("put_object", Params=asked)
    assert "AWSAccessKeyId" in url
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": url}))

    delivery = (await sent(app.context, job.id))["txt"]
    assert (job.state, delivery.attempts, delivery.status) == (JobState.FINISHED, 1, 200)
    media_type, text = await asyncio.to_thread(stored, client, key)
    assert text == TEXT
    assert content_type in {None, media_type}


async def test_an_expired_url_costs_no_second_transcription(app: App, client: Any) -> None:
    folder = f"deliveries-{uuid4()}"
    short = presigned(client, f"{folder}/txt", 1)
    outputs = {"txt": short, "vtt": presigned(client, f"{folder}/vtt")}
    expiry = expiry_of(short)
    assert expiry is not None
    await asyncio.sleep((expiry - datetime.now(UTC)).total_seconds() + 1.1)  # S3 counts seconds
    job = await ended(app.context, await transcribed(app.context, app.admin, outputs))

    found = await sent(app.context, job.id)
    assert job.error is not None
    assert (job.state, job.error.code) == (JobState.EXPIRED, "output_expired")
    assert (found["txt"].state, found["txt"].status) == (DeliveryState.EXPIRED, 403)
    assert "signature expired at" in (found["txt"].error or "")
    assert found["vtt"].state is DeliveryState.DELIVERED
    assert (await jobs.transcript(app.context, app.admin, job.id))[1] == TRANSCRIPT

    fresh = {"txt": presigned(client, f"{folder}/txt")}
    await deliveries.give_urls(app.context, app.admin, job.id, fresh)
    again = await ended(app.context, job.id)
    assert (again.state, again.attempt, again.error) == (JobState.FINISHED, 1, None)
    assert again.started_at == job.started_at
    assert (await asyncio.to_thread(stored, client, f"{folder}/txt"))[1] == TEXT
    assert await rows.claim(app.context.database) is None  # no runner had to do with it


async def test_a_wrong_signature_is_told_without_it(app: App, client: Any) -> None:
    url = presigned(client, f"deliveries-{uuid4()}/txt")
    head, _, signature = url.partition("X-Amz-Signature=")
    wrong = f"{head}X-Amz-Signature={'0' * len(signature)}"
    job = await ended(app.context, await transcribed(app.context, app.admin, {"txt": wrong}))

    found = (await sent(app.context, job.id))["txt"]
    assert (job.state, found.state, found.status) == (
        JobState.EXPIRED,
        DeliveryState.EXPIRED,
        403,
    )
    assert found.error == "The receiver answered 403 (SignatureDoesNotMatch)."
    assert "0" * 64 not in (found.response or "")
