"""From a file to a job: uploads, refusals, the live table, and what can be done in it."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.recordings import read_wav, text, write_wav
from tests.support.server import Server
from tests.support.speech import sample
from tests.web.people import Person

# All share one browser, and with it its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

MINUTE = 60_000


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has_text=name)


async def choose(page: Page, *files: Path) -> None:
    await page.get_by_label("Choose recordings").set_input_files(list(files))
    await page.get_by_label("Model").select_option("tiny.en")


def long_recording(folder: Path, times: int) -> Path:
    """Real speech over and over, so that a run lasts long enough to be watched."""
    sound, rate = read_wav(sample("two-cities"))
    return write_wav(folder / "long.wav", [sound] * times, rate)


async def test_a_file_becomes_a_transcript(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/")
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()
    await choose(page, sample("jfk"))
    assert await page.locator("#language option").all_inner_texts() == ["English"]
    await page.get_by_role("button", name="Transcribe", exact=True).click()
    job = row(page, "jfk.wav")
    await expect(job.get_by_text("Finished")).to_be_visible(timeout=MINUTE)
    await expect(job).to_contain_text("0:11")
    await job.get_by_role("link").click()
    await expect(page.get_by_role("region", name="Transcript")).to_contain_text(
        re.compile("ask not what your country can do for you", re.IGNORECASE)
    )


async def test_several_files_dropped_at_once(page: Page, member: Person) -> None:
    await member.sign_in(page)
    await page.goto("/")
    await page.get_by_label("Model").select_option("tiny.en")
    await page.evaluate(
        """([name, bytes]) => {
            const data = new DataTransfer();
            for (const copy of ["one", "two", "three"])
                data.items.add(new File([new Uint8Array(bytes)], `${copy}-${name}`));
            for (const type of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(
                    type, { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        ["jfk.wav", list(sample("jfk").read_bytes())],
    )
    await page.get_by_role("button", name="Transcribe 3 recordings").click()
    for name in ("one", "two", "three"):
        await expect(row(page, f"{name}-jfk.wav")).to_be_visible()
    assert len(member.ask("GET", "/jobs").json()["items"]) == 3


async def test_the_language_of_a_multilingual_model_is_detected_unless_chosen(
    page: Page, member: Person
) -> None:
    await member.sign_in(page)
    await page.goto("/")
    await page.get_by_label("Model").select_option("base")
    names = await page.locator("#language option").all_inner_texts()
    assert names[:2] == ["Detect", "Afrikaans"]
    assert {"English", "German", "Hebrew"} <= set(names)


async def test_text_renamed_to_wav_is_refused_in_plain_words(
    page: Page, member: Person, tmp_path: Path
) -> None:
    await member.sign_in(page)
    await page.goto("/")
    await choose(page, text(tmp_path / "notes.wav"))
    await page.get_by_role("button", name="Transcribe", exact=True).click()
    uploads = page.get_by_role("region", name="Uploads")
    await expect(uploads.get_by_role("alert")).to_contain_text(
        "The file is no recording that can be read"
    )
    await uploads.get_by_role("button", name="Remove: notes.wav").click()
    await expect(uploads).to_have_count(0)
    assert member.ask("GET", "/jobs").json()["items"] == []


async def test_an_empty_file_is_refused_before_it_is_sent(
    page: Page, member: Person, tmp_path: Path
) -> None:
    await member.sign_in(page)
    await page.goto("/")
    (tmp_path / "empty.wav").touch()
    await choose(page, tmp_path / "empty.wav")
    chosen = page.get_by_role("list", name="Chosen recordings")
    await expect(chosen).to_contain_text("The file is empty.")
    await chosen.get_by_role("button", name="Leave out empty.wav").click()
    await expect(chosen).to_have_count(0)


async def test_an_upload_shows_how_far_it_is_and_can_be_called_off(
    page: Page, member: Person, tmp_path: Path
) -> None:
    await member.sign_in(page)
    await page.goto("/")
    network = await page.context.new_cdp_session(page)
    await network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2e5},
    )
    await choose(page, long_recording(tmp_path, 2))
    await page.get_by_role("button", name="Transcribe", exact=True).click()
    uploads = page.get_by_role("region", name="Uploads")
    await expect(uploads).to_contain_text(re.compile(r"\d.* of \d.* · .*B/s · .* left"))
    bar = uploads.get_by_role("progressbar", name="Upload of long.wav")
    await expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]"))
    await uploads.get_by_role("button", name="Cancel: long.wav").click()
    await expect(uploads).to_have_count(0)
    assert member.ask("GET", "/jobs").json()["items"] == []


async def test_progress_is_seen_live_and_a_job_is_canceled_retried_deleted(
    page: Page, member: Person, tmp_path: Path
) -> None:
    media = member.upload(long_recording(tmp_path, 12))
    await member.sign_in(page)
    await page.goto("/")
    job_id = member.submit(media)["id"]
    job = row(page, "long.wav")
    bar = job.get_by_role("progressbar")
    await expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]"), timeout=MINUTE)
    await expect(job).to_contain_text("Transcribing")

    await job.get_by_role("button", name="Cancel long.wav").click()
    await expect(job.get_by_text("Canceled")).to_be_visible()
    assert member.job(job_id)["state"] == "canceled"

    await job.get_by_role("button", name="Try long.wav again").click()
    await expect(job.get_by_text(re.compile("Waiting|Running"))).to_be_visible()
    await job.get_by_role("link").click()
    about = page.get_by_role("complementary")
    await about.get_by_role("button", name="Cancel").click()
    await expect(about).to_contain_text("Canceled")

    await about.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    await about.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()
    assert member.ask("GET", "/jobs").json()["items"] == []
    assert member.ask("GET", "/media").json()["items"] == []


async def test_search_filter_and_pages(page: Page, member: Person) -> None:
    other = member.submit(member.upload(sample("jfk"), name="Überraschung.wav"))
    member.ask("POST", f"/jobs/{other['id']}/cancel")
    media = member.upload(sample("jfk"))
    for _ in range(55):
        member.ask("POST", f"/jobs/{member.submit(media)['id']}/cancel")
    await member.sign_in(page)
    await page.goto("/")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name="Load more").click()
    await expect(rows).to_have_count(56)
    await expect(page.get_by_role("button", name="Load more")).to_have_count(0)

    await page.get_by_label("Search by name").fill("raschung")
    await expect(rows).to_have_count(1)
    await page.get_by_role("button", name="Finished", exact=True).click()
    await expect(page.get_by_text("Nothing matches.")).to_be_visible()
    await page.get_by_role("button", name="Canceled", exact=True).click()
    await expect(rows).to_have_count(1)


async def test_after_the_server_was_away_the_table_is_right_again(
    page: Page, member: Person, server: Server
) -> None:
    job = member.submit(member.upload(sample("jfk")))
    member.ask("POST", f"/jobs/{job['id']}/cancel")
    await member.sign_in(page)
    await page.goto("/")
    await expect(row(page, "jfk.wav").get_by_text("Canceled")).to_be_visible()
    server.kill()
    server.start()
    # In between no event can be heard; reading the list again tells.
    member.ask("DELETE", f"/jobs/{job['id']}")
    await expect(page.get_by_text("Nothing here yet")).to_be_visible(timeout=MINUTE)
