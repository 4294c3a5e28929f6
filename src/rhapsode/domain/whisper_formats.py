"""Transcripts as the Whisper programs themselves write them, each in its own way.

`openai-whisper`: the result of its `transcribe` as JSON, its WebVTT and its text;
`whisper.cpp`: what `-ojf -ovtt -otxt -ocsv` make; `faster-whisper`: the library's info and
segments as JSON, text in lines of 70 columns. What only a decoder knows is derived from the
words (see `domain.openai`) or left empty.
"""

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from rhapsode.domain.cues import one_line
from rhapsode.domain.formats import Format, clock
from rhapsode.domain.languages import UNSPACED
from rhapsode.domain.openai import segment_document
from rhapsode.domain.transcription import AskedEngine
from rhapsode.domain.transcripts import Segment, Transcript, Word

Document = dict[str, Any]

FORMATS = frozenset({Format.JSON, Format.VTT, Format.TXT, Format.CSV})
"""Those that these programs write; for any other ours is as good."""

_COLUMNS = 70


def render(transcript: Transcript, wanted: Format, engine: AskedEngine, model: str) -> str:
    """The transcript as that engine writes it; `model` is the one that was asked for."""
    if wanted is Format.CSV:
        return _csv(transcript)
    writers: Mapping[tuple[AskedEngine, Format], Callable[[], str]] = {
        (AskedEngine.OPENAI_WHISPER, Format.JSON): lambda: _whisper_json(transcript),
        (AskedEngine.OPENAI_WHISPER, Format.VTT): lambda: _vtt(transcript, _short_clock, ""),
        (AskedEngine.OPENAI_WHISPER, Format.TXT): lambda: _lines(transcript, ""),
        (AskedEngine.WHISPER_CPP, Format.JSON): lambda: _cpp_json(transcript, model),
        (AskedEngine.WHISPER_CPP, Format.VTT): lambda: _vtt(transcript, _long_clock, " "),
        (AskedEngine.WHISPER_CPP, Format.TXT): lambda: _lines(transcript, " "),
        (AskedEngine.FASTER_WHISPER, Format.JSON): lambda: _faster_json(transcript),
        (AskedEngine.FASTER_WHISPER, Format.VTT): lambda: _vtt(transcript, _long_clock, " "),
        (AskedEngine.FASTER_WHISPER, Format.TXT): lambda: _wrapped(transcript),
    }
    return writers[engine, wanted]()


def _short_clock(seconds: float) -> str:
    """Without the hours where there are none."""
    return clock(seconds, ".").removeprefix("00:")


def _long_clock(seconds: float) -> str:
    return clock(seconds, ".")


def _vtt(transcript: Transcript, time: Callable[[float], str], lead: str) -> str:
    cues = (
        f"{time(s.start)} --> {time(s.end)}\n{lead}{one_line(s.text).replace('-->', '->')}\n\n"
        for s in transcript.segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _lines(transcript: Transcript, lead: str) -> str:
    return "".join(f"{lead}{one_line(s.text)}\n" for s in transcript.segments)


def _wrapped(transcript: Transcript) -> str:
    return "\n".join(textwrap.wrap(_text(transcript).strip(), _COLUMNS)) + "\n"


def _csv(transcript: Transcript) -> str:
    """Milliseconds, and the text in quotes of which those inside are doubled."""
    rows = (
        f'{_ms(s.start)},{_ms(s.end)}," {one_line(s.text).replace(_QUOTE, _QUOTE * 2)}"\n'
        for s in transcript.segments
    )
    return "start,end,text\n" + "".join(rows)


_QUOTE = '"'


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _text(transcript: Transcript) -> str:
    return "".join(_spaced(transcript, s.text) for s in transcript.segments)


def _spaced(transcript: Transcript, text: str) -> str:
    """As Whisper's tokens have it: with the space before the first word."""
    return text if transcript.language in UNSPACED else f" {text}"


def _word_texts(transcript: Transcript, segment: Segment) -> list[str]:
    """The pieces of the segment's text that its words are, each with the space before it."""
    text = _spaced(transcript, segment.text)
    ends = [0]
    for word in segment.words:
        found = text.find(word.text, ends[-1])
        ends.append(ends[-1] if found < 0 else found + len(word.text))
    ends[-1:] = [len(text)] if segment.words else []
    return [text[start:end] for start, end in pairwise(ends)]


def _worded(transcript: Transcript, segment: Segment) -> Iterator[tuple[str, Word]]:
    return zip(_word_texts(transcript, segment), segment.words, strict=True)


def _whisper_json(transcript: Transcript) -> str:
    segments = [
        {
            **segment_document(number, segment, 0.0),
            "text": _spaced(transcript, segment.text),
            "words": [
                {
                    "word": text,
                    "start": word.start,
                    "end": word.end,
                    "probability": word.probability or 0.0,
                }
                for text, word in _worded(transcript, segment)
            ],
        }
        for number, segment in enumerate(transcript.segments)
    ]
    return json.dumps(
        {
            "text": _text(transcript),
            "segments": segments,
            "language": transcript.language or "",
        }
    )


def _faster_json(transcript: Transcript) -> str:
    info = {
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": transcript.duration,
    }
    segments = [
        {
            "start": segment.start,
            "end": segment.end,
            "text": _spaced(transcript, segment.text),
            "words": [
                {"start": word.start, "end": word.end, "word": text}
                for text, word in _worded(transcript, segment)
            ],
        }
        for segment in transcript.segments
    ]
    return json.dumps({"info": info, "segments": segments}, indent=4)


def _cpp_json(transcript: Transcript, model: str) -> str:
    language = transcript.language or ""
    return json.dumps(
        {
            "systeminfo": "Rhapsode",
            "model": _cpp_model(model),
            "params": {"model": f"ggml-{model}.bin", "language": language, "translate": False},
            "result": {"language": language},
            "transcription": [_cpp_segment(transcript, s) for s in transcript.segments],
        },
        ensure_ascii=False,
        indent="\t",
    )


def _cpp_segment(transcript: Transcript, segment: Segment) -> Document:
    return {
        **_cpp_times(segment.start, segment.end),
        "text": _spaced(transcript, segment.text),
        "tokens": [
            {
                "text": text,
                **_cpp_times(word.start, word.end),
                "id": _NO_TOKEN,
                "p": word.probability or 0.0,
                "t_dtw": _NO_TOKEN,
            }
            for text, word in _worded(transcript, segment)
        ],
    }


_NO_TOKEN = -1
"""Whole words have no number in the model's vocabulary."""


def _cpp_times(start: float, end: float) -> Document:
    return {
        "timestamps": {"from": clock(start, ","), "to": clock(end, ",")},
        "offsets": {"from": _ms(start), "to": _ms(end)},
    }


_WIDTH_HEADS_LAYERS = {
    "tiny": (384, 6, 4),
    "base": (512, 8, 6),
    "small": (768, 12, 12),
    "medium": (1024, 16, 24),
    "large": (1280, 20, 32),
}
_TURBO_TEXT_LAYERS = 4
_NUMBERS = {"q5_0": 8, "q5_1": 9, "q8_0": 7}
_HALF_PRECISION = 1
"""How ggml numbers the ways in which weights are stored."""


def _cpp_model(model: str) -> Document:
    """What whisper.cpp tells of a model: its dimensions, as Whisper's authors chose them."""
    size = model.partition(".")[0].partition("-")[0]
    width, heads, layers = _WIDTH_HEADS_LAYERS[size]
    english, third = ".en" in model, model.startswith("large-v3")
    text_layers = _TURBO_TEXT_LAYERS if "turbo" in model else layers
    numbers = (number for name, number in _NUMBERS.items() if model.endswith(name))
    return {
        "type": size,
        "multilingual": not english,
        "vocab": 51_864 if english else 51_866 if third else 51_865,
        "audio": _dimensions(1500, width, heads, layers),
        "text": _dimensions(448, width, heads, text_layers),
        "mels": 128 if third else 80,
        "ftype": next(numbers, _HALF_PRECISION),
    }


def _dimensions(*values: int) -> Document:
    return dict(zip(("ctx", "state", "head", "layer"), values, strict=True))
