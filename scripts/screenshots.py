"""Makes the pictures in docs/images from a real run: server, runner, real speech, Chromium.

Run it after a change of the page's looks: `python scripts/screenshots.py`. It needs the built
page, Chromium, and the models, which it fetches into .cache/test unless they are there.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rhapsode.catalogue.entries import FASTER_WHISPER, find_model, find_sample
from rhapsode.catalogue.kinds import Entry
from rhapsode.catalogue.store import ModelStore

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
MODELS = ROOT / ".cache" / "test" / "models"

EMAIL = "homer@example.org"
PASSWORD = "sing to me of the man"
MOST_BYTES = 300_000
START_SECONDS = 60
RUN_MILLISECONDS = 180_000

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 780}
FINISHED_ONES = {
    "jfk": "Inaugural address, 1961.wav",
    "two-speakers": "Interview, second morning.wav",
    "two-cities": "A Tale of Two Cities, opening.wav",
}
LONG_ONE = "Lecture 7, the whole evening.wav"


def main() -> None:
    """Take the pictures; AssertionError where one is too large for a README."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("There is no Chromium (Debian: apt-get install chromium).")
    IMAGES.mkdir(parents=True, exist_ok=True)
    _pull(find_model(FASTER_WHISPER, "base"))
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        _server(Path(folder)) as url,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox"]
        )
        _take(browser, url, Path(folder))
        browser.close()
    for image in IMAGES.glob("*.png"):
        assert image.stat().st_size < MOST_BYTES, f"{image} is too large"


def _take(browser: Browser, url: str, folder: Path) -> None:
    page = _signed_in(browser, url, DESKTOP, "light")
    _transcribe(page, *(_copy(sample, folder / name) for sample, name in FINISHED_ONES.items()))
    expect(page.get_by_text("Finished")).to_have_count(
        1 + len(FINISHED_ONES), timeout=RUN_MILLISECONDS
    )
    _transcribe(page, _long(folder / LONG_ONE))
    bar = page.get_by_role("progressbar", name=f"Progress of {LONG_ONE}")
    expect(bar).to_have_attribute(
        "aria-valuenow", re.compile("^[2-9]."), timeout=RUN_MILLISECONDS
    )
    page.screenshot(path=IMAGES / "jobs.png")
    _open_transcript(page)
    page.screenshot(path=IMAGES / "transcript.png")
    _open_transcript(phone := _signed_in(browser, url, PHONE, "dark"))
    phone.screenshot(path=IMAGES / "transcript-phone.png")


def _signed_in(browser: Browser, url: str, size: dict[str, int], scheme: str) -> Page:
    context = browser.new_context(
        base_url=url,
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto("/")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    return page


def _transcribe(page: Page, *files: Path) -> None:
    page.get_by_label("Choose recordings").set_input_files(files)
    page.get_by_role("button", name=re.compile("^Transcribe")).click()
    expect(page.get_by_role("region", name="Uploads")).to_have_count(0, timeout=60_000)


def _open_transcript(page: Page) -> None:
    page.get_by_role("link", name=FINISHED_ONES["two-cities"]).click()
    lines = page.get_by_role("region", name="Transcript").get_by_role("listitem")
    lines.nth(2).get_by_role("button").click()
    expect(lines.nth(2)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Pause").click()


def _copy(sample: str, target: Path) -> Path:
    return Path(shutil.copyfile(_recording(sample), target))


def _long(target: Path) -> Path:
    """Real speech over and over, so that it is still running when the picture is taken."""
    with wave.open(str(_recording("two-cities"))) as source, wave.open(str(target), "w") as out:
        out.setparams(source.getparams())
        sound = source.readframes(source.getnframes())
        for _ in range(8):
            out.writeframes(sound)
    return target


def _recording(sample: str) -> Path:
    return next(_pull(find_sample(sample)).glob("**/*.wav"))


def _pull(entry: Entry | None) -> Path:
    assert entry is not None
    return ModelStore(MODELS).pull(entry)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = {
        "RHAPSODE_DATA": str(folder / "data"),
        "RHAPSODE_SERVER__PORT": str(port),
        "RHAPSODE_ADMIN__EMAIL": EMAIL,
        "RHAPSODE_ADMIN__PASSWORD": PASSWORD,
        "RHAPSODE_MODELS__FOLDER": str(MODELS),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "rhapsode", "serve"], env={**os.environ, **settings}
    )
    try:
        _await(url := f"http://127.0.0.1:{port}")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _await(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready").json()["checks"]["runners"]["ok"]:
                return
        time.sleep(0.2)
    sys.exit("The server did not become ready.")


if __name__ == "__main__":
    main()
