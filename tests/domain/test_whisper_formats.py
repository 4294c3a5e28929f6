"""The Whisper programs' own formats: what their readers rely on, to the character."""

import json
from typing import Any

import pytest

from rhapsode.domain.formats import Format
from rhapsode.domain.transcription import AskedEngine
from rhapsode.domain.transcripts import Segment, Transcript, Word
from rhapsode.domain.whisper_formats import render

OPENAI, CPP, FASTER = (
    AskedEngine.OPENAI_WHISPER,
    AskedEngine.WHISPER_CPP,
    AskedEngine.FASTER_WHISPER,
)
HELLO = Segment(
    0.0,
    1.5,
    'Hello, "you" there.',
    words=(
        Word(0.0, 0.5, "Hello,", 0.9),
        Word(0.5, 1.0, '"you"', 0.8),
        Word(1.0, 1.5, "there.", 0.7),
    ),
)
BYE = Segment(3601.0, 3602.0004, "Good --> bye.")
ENGLISH = Transcript("en", 3700.0, (HELLO, BYE), 0.98)


def written(
    wanted: Format, engine: AskedEngine, transcript: Transcript = ENGLISH, model: str = "base"
) -> str:
    return render(transcript, wanted, engine, model)


def read(engine: AskedEngine, transcript: Transcript = ENGLISH, model: str = "base") -> Any:
    return json.loads(written(Format.JSON, engine, transcript, model))


def test_openai_whisper_vtt_has_hours_only_where_there_are_any() -> None:
    assert written(Format.VTT, OPENAI) == (
        'WEBVTT\n\n00:00.000 --> 00:01.500\nHello, "you" there.\n\n'
        "01:00:01.000 --> 01:00:02.000\nGood -> bye.\n\n"
    )


def test_whisper_cpp_vtt_has_hours_and_a_space_before_the_text() -> None:
    assert written(Format.VTT, CPP) == (
        'WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n Hello, "you" there.\n\n'
        "01:00:01.000 --> 01:00:02.000\n Good -> bye.\n\n"
    )


def test_txt() -> None:
    assert written(Format.TXT, OPENAI) == 'Hello, "you" there.\nGood --> bye.\n'
    assert written(Format.TXT, CPP) == ' Hello, "you" there.\n Good --> bye.\n'
    assert written(Format.TXT, FASTER) == 'Hello, "you" there. Good --> bye.\n'


def test_faster_whisper_text_is_wrapped_at_seventy_columns() -> None:
    words = " ".join(["sentence"] * 20)
    lines = written(Format.TXT, FASTER, Transcript("en", 9.0, (Segment(0, 9, words),)))
    assert [len(line) for line in lines.splitlines()] == [62, 62, 53]


@pytest.mark.parametrize("engine", list(AskedEngine))
def test_csv_is_in_milliseconds_with_doubled_quotes(engine: AskedEngine) -> None:
    assert written(Format.CSV, engine) == (
        'start,end,text\n0,1500," Hello, ""you"" there."\n3601000,3602000," Good --> bye."\n'
    )


def test_openai_whisper_json() -> None:
    found = read(OPENAI)
    assert list(found) == ["text", "segments", "language"]
    assert (found["text"], found["language"]) == (
        ' Hello, "you" there. Good --> bye.',
        "en",
    )
    first, second = found["segments"]
    assert first | {"avg_logprob": None, "compression_ratio": None} == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.5,
        "text": ' Hello, "you" there.',
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": None,
        "compression_ratio": None,
        "no_speech_prob": 0.0,
        "words": [
            {"word": " Hello,", "start": 0.0, "end": 0.5, "probability": 0.9},
            {"word": ' "you"', "start": 0.5, "end": 1.0, "probability": 0.8},
            {"word": " there.", "start": 1.0, "end": 1.5, "probability": 0.7},
        ],
    }
    assert first["avg_logprob"] == pytest.approx(-0.2284, abs=1e-4)
    assert (second["id"], second["seek"], second["words"]) == (1, 360_100, [])


def test_whisper_cpp_json() -> None:
    found = read(CPP, model="large-v3-turbo-q5_0")
    assert list(found) == ["systeminfo", "model", "params", "result", "transcription"]
    assert found["model"] == {
        "type": "large",
        "multilingual": True,
        "vocab": 51866,
        "audio": {"ctx": 1500, "state": 1280, "head": 20, "layer": 32},
        "text": {"ctx": 448, "state": 1280, "head": 20, "layer": 4},
        "mels": 128,
        "ftype": 8,
    }
    assert found["params"]["model"] == "ggml-large-v3-turbo-q5_0.bin"
    assert found["result"] == {"language": "en"}
    first, second = found["transcription"]
    assert first["timestamps"] == {"from": "00:00:00,000", "to": "00:00:01,500"}
    assert second["offsets"] == {"from": 3_601_000, "to": 3_602_000}
    assert [token["text"] for token in first["tokens"]] == [" Hello,", ' "you"', " there."]
    assert "".join(token["text"] for token in first["tokens"]) == first["text"]


def test_whisper_cpp_json_of_an_english_model() -> None:
    model = read(CPP, model="small.en-q5_1")["model"]
    assert (model["type"], model["multilingual"], model["vocab"]) == ("small", False, 51864)
    assert (model["mels"], model["ftype"]) == (80, 9)


def test_faster_whisper_json() -> None:
    found = read(FASTER)
    info = {"language": "en", "language_probability": 0.98, "duration": 3700.0}
    assert found["info"] == info
    assert found["segments"][0]["words"][1] == {"start": 0.5, "end": 1.0, "word": ' "you"'}


def test_languages_without_spaces_get_none() -> None:
    words = (Word(0.0, 0.5, "你好", 0.9), Word(0.5, 1.0, "世界", 0.9))
    chinese = Transcript("zh", 1.0, (Segment(0.0, 1.0, "你好世界", words=words),))
    found = read(OPENAI, chinese)
    assert found["text"] == "你好世界"
    assert [word["word"] for word in found["segments"][0]["words"]] == ["你好", "世界"]


@pytest.mark.parametrize("engine", list(AskedEngine))
@pytest.mark.parametrize("wanted", [Format.JSON, Format.VTT, Format.TXT, Format.CSV])
def test_silence_is_a_whole_document(engine: AskedEngine, wanted: Format) -> None:
    text = written(wanted, engine, Transcript(None, 5.0))
    headings = {Format.VTT: "WEBVTT\n\n", Format.CSV: "start,end,text\n"}
    if wanted is Format.JSON:
        json.loads(text)
    elif wanted is Format.TXT:
        assert text.strip() == ""
    else:
        assert text == headings[wanted]
