"""For everybody: with a keyboard, with a screen reader, on a phone, in the dark."""

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.server import Server
from tests.web.browser import open_page, violations
from tests.web.people import Json, Person

# All share one browser, and with it its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = ["/", "/#/keys", "/#/webhooks", "/#/runners", "/#/nowhere"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    server: Server,
    browser: Browser,
    reader: tuple[Person, Json],
    scheme: str,
    width: int,
) -> None:
    person, job = reader
    look = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with open_page(browser, server.url, **look) as page:
        await page.goto("/")
        await expect(page.get_by_label("Password")).to_be_visible()
        assert await violations(page) == []
        await person.sign_in(page)
        await page.reload()
        for path in (f"/#/jobs/{job['id']}", *PAGES):
            await page.goto(path)
            await expect(page.locator("h1")).to_be_visible()
            await expect(page.get_by_role("main")).not_to_be_empty()
            assert await violations(page) == [], path
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_axe_finds_nothing_in_dialogs_and_secrets(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/#/keys")
    await page.get_by_label("Name").fill("looked at")
    await page.get_by_role("button", name="Create API key").click()
    await expect(page.locator("code[data-secret]")).to_be_visible()
    assert await violations(page) == []
    await page.get_by_role("button", name="Revoke looked at").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await violations(page) == []


async def test_a_dialog_is_left_by_escape_and_gives_the_focus_back(
    page: Page, reader: tuple[Person, Json]
) -> None:
    await reader[0].sign_in(page)
    await page.goto("/")
    button = page.get_by_role("button", name="Delete jfk.wav")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Keep")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(button).to_be_focused()


async def test_the_way_by_keyboard_alone(page: Page, reader: tuple[Person, Json]) -> None:
    await reader[0].sign_in(page)
    await page.goto("/")
    await expect(page.get_by_role("link", name="jfk.wav")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Choose recordings")).to_be_focused()
    for label in ("Or links to recordings", "Engine", "Model", "Language", "Layout"):
        await page.keyboard.press("Tab")
        await expect(page.get_by_label(label)).to_be_focused()
    await page.get_by_role("link", name="jfk.wav").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1", has_text="jfk.wav")).to_be_visible()


async def test_the_api_reference_needs_no_third_party(
    page: Page, reader: tuple[Person, Json]
) -> None:
    await reader[0].sign_in(page)
    await page.goto("/docs")
    await expect(page.get_by_text("/api/options")).to_be_visible()
