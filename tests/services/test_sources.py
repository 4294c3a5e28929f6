"""Recordings in the operator's buckets: which may be named, and how a runner reads them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rhapsode.domain.errors import DomainError
from rhapsode.domain.jobs import Source
from rhapsode.services import jobs, sources
from rhapsode.services.jobs import JobOrder
from tests.support.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.support.server import App, running_app, settings_for


@pytest.fixture
async def with_bucket(database_url: str, tmp_path: Path, s3_server: S3) -> AsyncIterator[App]:
    section = {
        "endpoint": s3_server.endpoint,
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
        "buckets": ["tests"],
    }
    settings = settings_for(tmp_path, database_url=database_url, s3_input=section)
    async with running_app(settings) as app:
        yield app


def order(url: str, **more: Any) -> JobOrder:
    return JobOrder(source=Source(url=url), **more)


async def test_a_job_for_an_open_bucket_keeps_no_signature(
    with_bucket: App, s3_server: S3
) -> None:
    s3_server.client().put_object(Bucket="tests", Key="in/talk one.wav", Body=b"hello")

    job = await jobs.create(
        with_bucket.context, with_bucket.admin, order("s3://tests/in/talk one.wav")
    )

    assert (job.name, job.source) == ("talk one.wav", Source(url="s3://tests/in/talk one.wav"))
    assert job.source is not None
    link = sources.fetched_from(with_bucket.context, job.source)
    assert httpx.get(link).content == b"hello"
    assert "X-Amz-Expires=22200" in link  # six hours that a fetch may take, and some


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("s3://other/talk.wav", "bucket_closed"),
        ("s3://tests", "url_invalid"),
        ("S3://tests/talk.wav", "url_invalid"),
    ],
)
async def test_what_may_not_be_read_makes_no_job(with_bucket: App, url: str, code: str) -> None:
    with pytest.raises(DomainError) as refusal:
        await jobs.create(with_bucket.context, with_bucket.admin, order(url))

    assert refusal.value.code == code
    assert await jobs.unfinished(with_bucket.context) == {
        "queued": 0,
        "running": 0,
        "delivering": 0,
    }


async def test_a_bucket_that_was_closed_since_opens_no_more(with_bucket: App, app: App) -> None:
    """The key may have been taken away between submission and start."""
    source = Source(url="s3://tests/talk.wav")

    with pytest.raises(DomainError) as refusal:
        sources.fetched_from(app.context, source)

    assert refusal.value.code == "s3_input_off"


async def test_a_url_of_the_web_is_fetched_as_it_is(app: App) -> None:
    url = "https://me:pass@example.org/talk.wav?X-Amz-Signature=1"

    assert sources.fetched_from(app.context, Source(url=url)) == url


async def test_private_networks_that_the_operator_allows(tmp_path: Path) -> None:
    outbound = {"allow_networks": ["127.0.0.0/8"]}
    async with running_app(settings_for(tmp_path, outbound=outbound)) as app:
        job = await jobs.create(
            app.context, app.admin, order("http://127.0.0.1:9/a.wav", outputs={})
        )
        with pytest.raises(DomainError) as refusal:
            await jobs.create(app.context, app.admin, order("http://10.0.0.1/a.wav"))

    assert (job.name, refusal.value.code) == ("a.wav", "address_refused")


async def test_what_goes_alongside_is_written_with_the_job_or_not_at_all(app: App) -> None:
    async def breaks(*_: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await jobs.create(
            app.context, app.admin, order("https://example.org/a.wav"), alongside=breaks
        )

    assert (await jobs.unfinished(app.context))["queued"] == 0
