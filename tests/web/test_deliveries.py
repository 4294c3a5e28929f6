"""Recordings by link, what is delivered of them, and webhooks."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.support.misbehaving import Misbehaving, file, misbehaving, status
from tests.support.receiver import Receiver, Reply, receiving
from tests.support.speech import sample
from tests.web.browser import violations
from tests.web.people import Json, Person

pytestmark = pytest.mark.asyncio(loop_scope="session")

MINUTE = 60_000


@pytest_asyncio.fixture(loop_scope="session")
async def files() -> AsyncIterator[Misbehaving]:
    async with misbehaving() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as server:
        yield server


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has_text=name)


async def submit(page: Page, *links: str) -> None:
    field = page.get_by_label("Or links to recordings")
    await field.fill(" ".join(links))
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_label("Model").select_option("tiny.en")
    await page.get_by_role("button", name=re.compile("^Transcribe")).click()


def asked(member: Person, link: str, **more: Json) -> str:
    body = {"input": {"url": link}, "spec": {"model": "tiny.en"}, **more}
    return str(member.ask("POST", "/jobs", json=body).json()["id"])


async def test_a_link_becomes_a_transcript_to_listen_along(
    page: Page, member: Person, files: Misbehaving
) -> None:
    link = files.at("/speech/jfk.wav", file(sample("jfk").read_bytes()))
    await member.sign_in(page)
    await page.goto("/")

    await submit(page, f"{link}?X-Amz-Signature=secret")

    job = row(page, "jfk.wav")
    await expect(job.get_by_text("Finished")).to_be_visible(timeout=MINUTE)
    await job.get_by_role("link").click()
    await expect(page.get_by_role("region", name="Transcript")).to_contain_text("country")
    await expect(page.get_by_role("complementary")).to_contain_text(link)
    await expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert "secret" not in await page.content()


async def test_what_is_no_link_is_named(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/")

    await page.get_by_label("Or links to recordings").fill("ftp://a.example/x")
    await page.keyboard.press("Enter")

    await expect(page.get_by_text("This is no link: ftp://a.example/x")).to_be_visible()


async def test_a_link_that_is_refused_stays_with_the_reason(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/")

    await submit(page, "http://10.0.0.1/talk.mp3")

    reason = page.get_by_text("http://10.0.0.1/talk.mp3 leads to a private address")
    await expect(reason).to_be_visible()
    chosen = page.get_by_role("list", name="Chosen recordings")
    await expect(chosen).to_contain_text("http://10.0.0.1/talk.mp3")


async def test_an_expired_link_is_replaced(
    page: Page, member: Person, files: Misbehaving
) -> None:
    gone = files.at("/gone.wav", status(403))
    fresh = files.at("/fresh.wav", file(sample("jfk").read_bytes()))
    job_id = asked(member, gone)
    await member.sign_in(page)
    await page.goto(f"/#/jobs/{job_id}")
    await expect(page.get_by_text("Expired").first).to_be_visible(timeout=MINUTE)

    await page.get_by_label("A fresh URL for the recording").fill(fresh)
    await page.get_by_role("button", name="Try again with it").click()

    await expect(page.get_by_role("region", name="Transcript")).to_contain_text(
        "country", timeout=MINUTE
    )


async def test_deliveries_are_shown_and_sent_again(
    page: Page, member: Person, files: Misbehaving, receiver: Receiver
) -> None:
    link = files.at("/jfk.wav", file(sample("jfk").read_bytes()))
    expired, refused = receiver.plan("/a.vtt", Reply(403)), receiver.plan("/a.txt", Reply(400))
    outputs = {"vtt": expired, "txt": refused, "json": f"{receiver.url}/a.json"}
    job_id = asked(member, link, outputs=outputs)
    await member.sign_in(page)
    await page.goto(f"/#/jobs/{job_id}")
    section = page.get_by_role("region", name="Deliveries")
    item = {name: section.locator(f'[data-delivery="{name}"]') for name in outputs}
    await expect(item["json"]).to_contain_text("Delivered", timeout=MINUTE)
    await expect(item["txt"]).to_contain_text("Given up")
    await expect(item["vtt"]).to_contain_text("URL expired")
    assert await violations(page) == []

    await page.get_by_role("button", name="Send again: txt").click()
    await expect(item["txt"]).to_contain_text("Delivered")
    await item["vtt"].get_by_label("A fresh URL for vtt").fill(f"{receiver.url}/b.vtt")
    await item["vtt"].get_by_role("button", name="Send there").click()

    await expect(page.locator('[data-state="finished"]')).to_be_visible(timeout=MINUTE)
    assert receiver.at("/b.vtt")[0].body.startswith(b"WEBVTT")


async def test_a_webhook_is_made_tested_rotated_and_deleted(
    page: Page, member: Person, receiver: Receiver
) -> None:
    await member.sign_in(page)
    await page.goto("/#/webhooks")
    await page.get_by_role("textbox", name="URL").fill(f"{receiver.url}/hook?key=hidden")
    await page.get_by_label("Description").fill("catalogue")
    await page.get_by_role("button", name="Add webhook").click()
    secret = page.locator("[data-secret]")
    await expect(secret).to_have_text(re.compile("^whsec_"))
    first = await secret.inner_text()
    assert await violations(page) == []

    await page.get_by_role("button", name="Test").click()
    await expect(page.get_by_text("Delivered")).to_be_visible()
    assert receiver.at("/hook")[0].headers["webhook-signature"].startswith("v1,")

    await page.get_by_role("button", name="New secret").click()
    await page.get_by_role("button", name="Make a new one").click()
    await expect(secret).not_to_have_text(first)
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("You have no webhooks.")).to_be_visible()
