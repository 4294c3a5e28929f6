"""Chromium as a test uses it: a page that keeps a record of what must not happen."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The browser's own note on an answer of 400 and more; the tests look at what the page says.
_NOTED_ANYWAY = "Failed to load resource"


@dataclass
class Complaints:
    """Errors in the console, breaches of the security policy, calls of third parties."""

    origin: str
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(_NOTED_ANYWAY):
            self.found.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "blob:", "data:")):
            self.found.append(f"third party: {request.url}")


@contextlib.asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def open_page(browser: Browser, origin: str, **options: Any) -> AsyncIterator[Page]:
    """A page without a past; AssertionError at the end if it gave cause for complaint."""
    context = await browser.new_context(base_url=origin, **options)
    context.set_default_timeout(20_000)
    page = await context.new_page()
    complaints = Complaints(origin)
    complaints.watch(page)
    yield page
    await context.close()
    assert complaints.found == []


async def violations(page: Page) -> list[str]:
    """What axe-core finds. As text, because the page allows no script of ours."""
    # Something that fades in is not yet what it will look like.
    await page.evaluate(
        "Promise.all(document.getAnimations().map(animation => animation.finished))"
    )
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [
        f"{item['id']}: {node['html']} {node['failureSummary']}"
        for item in found["violations"]
        for node in item["nodes"]
    ]
