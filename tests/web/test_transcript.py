"""The page of one job: its player, its text, its downloads."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.support import conversations
from tests.support.recordings import read_wav, silence, video_with_sound
from tests.support.speech import sample
from tests.web.browser import violations
from tests.web.people import Json, Person

# All share one browser, and with it its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

Reader = tuple[Person, Json]
FORMATS = ["txt", "srt", "vtt", "csv", "tsv", "json"]


async def opened(page: Page, reader: Reader) -> str:
    person, job = reader
    await person.sign_in(page)
    await page.goto(f"/#/jobs/{job['id']}")
    await expect(page.get_by_role("region", name="Transcript")).to_be_visible()
    return str(job["id"])


async def downloaded(page: Page, name: str) -> tuple[str, str]:
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name=re.compile(f"^{name}", re.IGNORECASE)).click()
    download = await waiting.value
    content = Path(await download.path()).read_bytes().decode()
    return download.suggested_filename, content


async def test_what_is_known_of_a_job_is_shown(page: Page, reader: Reader) -> None:
    await opened(page, reader)
    about = page.get_by_role("complementary")
    for fact in ("Finished", "0:11", "English", "tiny.en", "embedded"):
        await expect(about).to_contain_text(fact)


async def test_a_click_on_a_time_plays_from_there(page: Page, reader: Reader) -> None:
    job_id = await opened(page, reader)
    person, _ = reader
    segments = person.ask("GET", f"/jobs/{job_id}/transcript").json()["segments"]
    last = page.get_by_role("listitem").filter(has_text=segments[-1]["text"].strip()).last
    await last.get_by_role("button").click()
    await page.wait_for_function(
        "start => { const a = document.querySelector('audio');"
        " return !a.paused && a.currentTime > start + 0.2 }",
        arg=segments[-1]["start"],
    )
    await expect(last).to_have_attribute("aria-current", "true")
    await page.get_by_role("button", name="Pause").click()
    await page.wait_for_function("document.querySelector('audio').paused")


async def test_the_player_obeys_the_keyboard(page: Page, reader: Reader) -> None:
    await opened(page, reader)
    await page.wait_for_function("document.querySelector('audio').readyState > 0")
    await page.locator("h1").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_label("Position")).to_have_attribute(
        "aria-valuetext", "0:05 of 0:11"
    )
    await page.keyboard.press("Space")
    await page.wait_for_function("!document.querySelector('audio').paused")
    await page.get_by_label("Speed").select_option("2×")
    assert await page.evaluate("document.querySelector('audio').playbackRate") == 2


@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_can_be_downloaded(page: Page, reader: Reader, name: str) -> None:
    job_id = await opened(page, reader)
    person, _ = reader
    expected = person.ask("GET", f"/jobs/{job_id}/transcript?format={name}").content.decode()
    assert await downloaded(page, name) == (f"jfk.{name}", expected)


async def test_subtitles_take_the_shape_asked_for(page: Page, reader: Reader) -> None:
    job_id = await opened(page, reader)
    person, _ = reader
    await page.get_by_text("Shape the subtitles").click()
    await page.get_by_label("Characters a line").fill("20")
    await page.get_by_label("Lines a subtitle").fill("1")
    shape = "format=srt&chars_per_line=20&lines_per_cue=1"
    expected = person.ask("GET", f"/jobs/{job_id}/transcript?{shape}").content.decode()
    assert await downloaded(page, "srt") == ("jfk.srt", expected)


async def test_the_text_can_be_copied(page: Page, reader: Reader) -> None:
    await opened(page, reader)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy text").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert "your country can do for you" in copied


async def test_a_film_is_shown_with_its_picture(
    page: Page, member: Person, tmp_path: Path
) -> None:
    sound, rate = read_wav(sample("jfk"))
    film = video_with_sound(tmp_path / "film.mp4", sound, rate)
    job = member.submit(member.upload(film))
    member.ask("POST", f"/jobs/{job['id']}/cancel")
    await member.sign_in(page)
    await page.goto(f"/#/jobs/{job['id']}")
    await expect(page.locator("video")).to_be_visible()
    await expect(page.get_by_text("so there is no transcript")).to_be_visible()


async def test_silence_has_no_words(page: Page, member: Person, tmp_path: Path) -> None:
    job = member.transcribed(silence(tmp_path / "silence.wav"))
    await member.sign_in(page)
    await page.goto(f"/#/jobs/{job['id']}")
    await expect(page.get_by_text("No speech was found in this recording.")).to_be_visible()


async def test_somebody_elses_job_is_not_there(
    page: Page, member: Person, reader: Reader
) -> None:
    await member.sign_in(page)
    await page.goto(f"/#/jobs/{reader[1]['id']}")
    await expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()


async def test_speakers_are_named_and_remembered(page: Page, member: Person) -> None:
    conversations.diariser()
    media = member.upload(sample("two-speakers"))
    spec = {"model": "tiny.en", "layout": "diarisation", "speakers": {"exact": 2}}
    body = {"input": {"media_id": media["id"]}, "spec": spec}
    job = member.ask("POST", "/jobs", json=body).json()
    await member.sign_in(page)
    await page.goto(f"/#/jobs/{job['id']}")
    section = page.get_by_role("region", name="Speakers")
    await expect(section).to_be_visible(timeout=120_000)
    assert await violations(page) == []

    await section.get_by_label("Name of Speaker 1").fill("Anna")
    await section.get_by_role("button", name="Save names").click()
    await expect(page.get_by_role("region", name="Transcript")).to_contain_text("Anna:")
    await section.get_by_role("button", name="Remember the voice of Anna").click()

    await expect(page.get_by_text("Anna is named by this voice from now on.")).to_be_visible()
    assert [voice["name"] for voice in member.ask("GET", "/voices").json()["items"]] == ["Anna"]
