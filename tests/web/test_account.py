"""Signing in and out, API keys, and what only administrators see."""

import re

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.support.server import PASSWORD, Server
from tests.web.people import Person

# All share one browser, and with it its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_sign_in_and_out(page: Page, member: Person) -> None:
    await page.goto("/")
    await page.get_by_label("E-mail").fill(member.email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    await expect(page.get_by_role("banner")).to_contain_text(member.email)

    await page.reload()
    await expect(page.get_by_role("banner")).to_contain_text(member.email)

    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Password")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Password")).to_be_visible()


async def test_a_wrong_password_is_told_and_can_be_typed_again(
    page: Page, member: Person
) -> None:
    await page.goto("/")
    await page.get_by_label("E-mail").fill(member.email)
    await page.get_by_label("Password").fill("not the password")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text(
        "The e-mail address or the password is wrong."
    )
    await expect(page.get_by_label("Password")).to_be_focused()
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()


async def test_a_login_that_ends_leads_back_to_signing_in(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/#/keys")
    await expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    await page.context.clear_cookies()
    await page.get_by_role("link", name="Jobs", exact=True).click()
    await expect(page.get_by_label("Password")).to_be_visible()


async def test_the_version_is_in_the_footer(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/")
    version = member.ask("GET", "/options").json()["version"]
    await expect(page.get_by_role("contentinfo")).to_contain_text(f"Rhapsode {version}")


async def test_an_api_key_is_shown_once_works_and_can_be_revoked(
    page: Page, member: Person, server: Server
) -> None:
    await member.sign_in(page)
    await page.goto("/#/keys")
    await page.get_by_label("Name").fill("backup script")
    await page.get_by_role("button", name="Create API key").click()
    secret = await page.locator("code[data-secret]").inner_text()
    bearer = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{server.url}/api/me", headers=bearer).json()["email"] == member.email

    await page.reload()
    await expect(page.get_by_text("backup script")).to_be_visible()
    await expect(page.get_by_text(secret)).to_have_count(0)

    await page.get_by_role("button", name="Revoke backup script").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.get_by_text("You have no API keys.")).to_be_visible()
    assert httpx.get(f"{server.url}/api/me", headers=bearer).status_code == 401


async def test_an_administrator_sees_runners_and_makes_tokens(
    page: Page, admin: Person
) -> None:
    await admin.sign_in(page)
    await page.goto("/")
    await page.get_by_role("link", name="Runners").click()
    card = page.get_by_role("listitem").filter(has_text="Online")
    await expect(card).to_contain_text("tiny.en")
    await page.get_by_label("Name").fill("cellar")
    await page.get_by_role("button", name="Create runner token").click()
    await expect(page.locator("code[data-secret]")).to_have_text(re.compile("^rhr_"))
    await expect(page.get_by_text("rhapsode runner --server")).to_be_visible()


async def test_others_see_no_runners(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/#/runners")
    await expect(page.get_by_role("alert").first).to_contain_text(
        "Only an administrator may do this."
    )
    await expect(page.get_by_role("link", name="Runners")).to_have_count(0)
