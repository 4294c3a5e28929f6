"""OpenAI's own packages, Python and JavaScript, unchanged but for `base_url`."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from scripts.build_web import BuildError, find_node, install_packages

from tests.support import conversations
from tests.support.needs import absent
from tests.support.ports import until
from tests.support.recordings import read_wav, write_wav
from tests.support.server import Server, running_server, settings_for
from tests.support.speech import model_path, models_folder, plain, sample, sample_text

WEB = Path(__file__).parents[2] / "web"


@dataclass
class Service:
    server: Server
    key: str

    def client(self, **changes: Any) -> OpenAI:
        wanted = {"api_key": self.key, "max_retries": 0, **changes}
        return OpenAI(base_url=f"{self.server.url}/v1", **wanted)

    def left(self) -> list[int]:
        """How many jobs and recordings there are."""
        return [len(self.get(f"/api/{kind}")["items"]) for kind in ("jobs", "media")]

    def has_runner(self) -> bool:
        return bool(self.get("/api/options")["runners_online"])

    def get(self, path: str) -> Any:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.get(f"{self.server.url}{path}", headers=headers).raise_for_status().json()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    model_path("tiny.en")
    model_path("base")
    conversations.diariser()
    folder = tmp_path_factory.mktemp("openai")
    settings = settings_for(
        folder,
        runner={"enabled": True, "models": ["tiny.en"]},
        models={"folder": models_folder(), "hub": False},
        openai={"models": {"whisper-1": "faster-whisper/tiny.en"}},
    )
    with running_server(settings, folder) as server:
        running = Service(server, server.secret("--api-key", "openai"))
        until(
            lambda: running.get("/api/options")["runners_online"] == 1, 60, "a runner is there"
        )
        yield running


def test_every_format_says_the_same(service: Service) -> None:
    ask = service.client().audio.transcriptions.create
    jfk = sample("jfk")

    texts = {
        "json": ask(file=jfk, model="whisper-1").text,
        "text": ask(file=jfk, model="whisper-1", response_format="text"),
        "srt": ask(file=jfk, model="whisper-1", response_format="srt").split("\n", 2)[2],
        "vtt": ask(file=jfk, model="whisper-1", response_format="vtt").split("\n", 3)[3],
        "verbose_json": ask(file=jfk, model="whisper-1", response_format="verbose_json").text,
    }

    assert {name: plain(str(text)) for name, text in texts.items()} == dict.fromkeys(
        texts, plain(sample_text("jfk"))
    )


def test_the_times_that_were_asked_for(service: Service) -> None:
    ask = service.client().audio.transcriptions.create

    words = ask(
        file=sample("jfk"),
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    segments = ask(file=sample("jfk"), model="whisper-1", response_format="verbose_json")

    assert (words.language, words.duration, words.segments) == ("english", 11.0, None)
    assert " ".join(word.word for word in words.words or ()) == words.text
    assert segments.words is None
    numbers = [segment.id for segment in segments.segments or ()]
    assert numbers == list(range(len(numbers)))
    assert numbers


def test_a_stream_adds_up_to_the_whole(service: Service) -> None:
    ask = service.client().audio.transcriptions.create

    events = list(ask(file=sample("jfk"), model="whisper-1", stream=True))

    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(deltas) == events[-1].text
    assert (events[-1].type, plain(events[-1].text)) == (
        "transcript.text.done",
        plain(sample_text("jfk")),
    )


def test_nothing_is_left_behind(service: Service) -> None:
    ask = service.client().audio.transcriptions.create
    ask(file=sample("jfk"), model="whisper-1")
    with pytest.raises(openai.BadRequestError):
        ask(file=sample("jfk"), model="whisper-1", language="xx")
    with pytest.raises(openai.APITimeoutError):
        service.client(timeout=0.5).audio.transcriptions.create(
            file=sample("jfk"), model="whisper-1"
        )

    until(lambda: service.left() == [0, 0], 15, "nothing is left")


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"model": "nonsense"}, openai.NotFoundError, "model_not_found"),
        ({"response_format": "xml"}, openai.BadRequestError, "invalid_request"),
        ({"temperature": 3}, openai.BadRequestError, "invalid_request"),
        ({"chunking_strategy": "{"}, openai.BadRequestError, "invalid_request"),
        ({"language": "xx"}, openai.BadRequestError, "unsupported_language"),
        ({"model": "faster-whisper/base.en"}, openai.InternalServerError, "model_unreachable"),
        (
            {"file": ("notes.txt", b"no sound at all")},
            openai.BadRequestError,
            "media_unreadable",
        ),
        ({"file": ("empty.wav", b"")}, openai.BadRequestError, "media_empty"),
    ],
)
def test_what_cannot_be_is_said_in_their_words(
    service: Service, changes: dict[str, Any], error: type[openai.APIStatusError], code: str
) -> None:
    asked: dict[str, Any] = {"file": sample("jfk"), "model": "whisper-1", **changes}

    with pytest.raises(error) as refusal:
        service.client().audio.transcriptions.create(**asked)

    assert refusal.value.code == code


def test_a_wrong_key_is_refused(service: Service) -> None:
    with pytest.raises(openai.AuthenticationError) as refusal:
        service.client(api_key="rhk_wrong").models.list()

    assert refusal.value.code == "invalid_api_key"


def test_models_by_name(service: Service) -> None:
    client = service.client()

    names = [model.id for model in client.models.list()]

    assert {"faster-whisper/tiny.en", "whisper-1"} <= set(names)
    assert client.models.retrieve("faster-whisper/tiny.en").id == "faster-whisper/tiny.en"


def test_the_javascript_package(service: Service) -> None:
    try:
        node = find_node()
        install_packages(node)
    except BuildError as error:
        absent("node", str(error))
    program = Path(__file__).with_name("openai_client.mjs")
    base = f"{service.server.url}/v1"
    package = WEB / "node_modules" / "openai"
    command = [
        str(node.folder / "node"),
        str(program),
        str(package),
        base,
        service.key,
        str(sample("jfk")),
    ]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wanted = plain(sample_text("jfk"))
    texts = [found["json"]["text"], found["text"], found["verbose"]["text"]]
    assert [plain(text) for text in texts] == [wanted] * 3
    assert "".join(event.get("delta", "") for event in found["events"]) == texts[0]
    assert found["refusal"] == {
        "name": "NotFoundError",
        "status": 404,
        "code": "model_not_found",
    }


def test_a_stream_begins_before_the_end(service: Service, tmp_path: Path) -> None:
    sound, rate = read_wav(sample("two-cities"))
    recording = write_wav(tmp_path / "long.wav", [sound] * 4, rate)
    ask = service.client().audio.transcriptions.create
    began = time.monotonic()

    came = [
        (event, time.monotonic() - began)
        for event in ask(file=recording, model="whisper-1", stream=True)
    ]

    deltas = [event.delta for event, _ in came if event.type == "transcript.text.delta"]
    first, last = came[0][1], came[-1][1]
    assert "".join(deltas) == came[-1][0].text
    assert len(deltas) > 10
    assert first < last / 2


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_translation_is_english(service: Service) -> None:
    client = service.client()

    english = client.audio.translations.create(file=sample("jfk"), model="base")
    with pytest.raises(openai.BadRequestError) as refusal:
        client.audio.translations.create(file=sample("jfk"), model="tiny.en")

    assert plain(english.text) == plain(sample_text("jfk"))
    assert refusal.value.code == "translation_unavailable"


@pytest.mark.parametrize("stream", [False, True])
def test_speakers_are_told_apart(service: Service, stream: bool) -> None:
    ask = service.client().audio.transcriptions.create
    wanted: dict[str, Any] = {"model": "whisper-1", "response_format": "diarized_json"}

    found = ask(file=sample("two-speakers"), stream=stream, **wanted)

    events = list(found) if stream else found.segments
    segments = [it for it in events if it.type == "transcript.text.segment"]
    assert {segment.speaker for segment in segments} == {"Speaker 1", "Speaker 2"}
    times = [segment.start for segment in segments]
    assert times == sorted(times)
    assert "Hello" in " ".join(segment.text for segment in segments)
