"""The text formats, from one canonical transcript."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.domain.cues import Shaping
from rhapsode.domain.formats import Format, clock, render
from rhapsode.domain.jobs import Layout
from rhapsode.domain.transcripts import Segment, Transcript, Word


def transcript(*segments: Segment) -> Transcript:
    duration = segments[-1].end if segments else 0.0
    return Transcript("en", duration, segments, 0.9)


def said(
    text: str, start: float = 0.0, end: float = 1.0, speaker: str | None = None
) -> Segment:
    return Segment(start, end, text, speaker)


TWO = transcript(said("Hello there.", 0, 1.5), said("Good bye.", 2, 3.25))

RENDERED = {
    Format.TXT: "Hello there.\nGood bye.\n",
    Format.SRT: (
        "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n"
        "2\n00:00:02,000 --> 00:00:03,250\nGood bye.\n\n"
    ),
    Format.VTT: (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello there.\n"
        "\n00:00:02.000 --> 00:00:03.250\nGood bye.\n"
    ),
    Format.TSV: "start\tend\ttext\n0\t1500\tHello there.\n2000\t3250\tGood bye.\n",
    Format.CSV: "start,end,text\n0,1500,Hello there.\n2000,3250,Good bye.\n",
}

EMPTY = {
    Format.TXT: "",
    Format.SRT: "",
    Format.VTT: "WEBVTT\n",
    Format.TSV: "start\tend\ttext\n",
    Format.CSV: "start,end,text\n",
}

TEXTS = ["日本語のテキスト", "שלום עולם", "مرحبا بالعالم", "🎤 naïve café", "กขค"]


@pytest.mark.parametrize("kind", RENDERED)
def test_two_segments(kind: Format) -> None:
    assert render(TWO, kind) == RENDERED[kind]


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_transcript(kind: Format) -> None:
    assert render(Transcript(None, 5.0), kind) == EMPTY[kind]


def test_json_is_the_canonical_document() -> None:
    one = transcript(
        Segment(0, 1, "Hi.", "A", (Word(0, 0.5, "Hi.", 0.75),)),
    )

    assert json.loads(render(one, Format.JSON)) == {
        "text": "Hi.",
        "language": "en",
        "language_probability": 0.9,
        "duration": 1,
        "segments": [
            {
                "start": 0,
                "end": 1,
                "text": "Hi.",
                "speaker": "A",
                "words": [{"start": 0, "end": 0.5, "text": "Hi.", "probability": 0.75}],
            }
        ],
    }


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("text", TEXTS)
def test_every_script_passes_unescaped(kind: Format, text: str) -> None:
    assert text in render(transcript(said(text)), kind)


def test_speakers_in_text() -> None:
    talk = transcript(said("Hello.", speaker="Ann"), said("Hi.", 1, 2, "Ben"))

    assert render(talk, Format.TXT) == "Ann: Hello.\nBen: Hi.\n"


def test_speakers_in_srt() -> None:
    assert render(transcript(said("Hello.", speaker="Ann")), Format.SRT) == (
        "1\n00:00:00,000 --> 00:00:01,000\n[Ann] Hello.\n\n"
    )


def test_speakers_in_vtt() -> None:
    assert render(transcript(said("Hello.", speaker="Ann")), Format.VTT) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n<v Ann>Hello.</v>\n"
    )


def test_speakers_in_a_table_with_one_unknown() -> None:
    talk = transcript(said("Hello.", speaker="Ann"), said("Hi.", 1, 2))

    assert render(talk, Format.CSV) == (
        "start,end,speaker,text\n0,1000,Ann,Hello.\n1000,2000,,Hi.\n"
    )


def test_vtt_escapes_markup() -> None:
    talk = transcript(said("a < b --> c & <v X>", speaker="<&>"))

    assert render(talk, Format.VTT).splitlines()[3] == (
        "<v &lt;&amp;&gt;>a &lt; b --&gt; c &amp; &lt;v X&gt;</v>"
    )


def test_srt_arrows_are_no_times() -> None:
    assert render(transcript(said("00:00 --> 01:00")), Format.SRT).splitlines()[2] == (
        "00:00 -> 01:00"
    )


@pytest.mark.parametrize("kind", [Format.SRT, Format.VTT])
def test_blank_lines_within_a_text_do_not_end_a_cue(kind: Format) -> None:
    broken = transcript(said("one\n\ntwo\r\n\r\n3", speaker="A\n\nB"))
    whole = transcript(said("one two 3", speaker="A B"))

    assert render(broken, kind) == render(whole, kind)


@pytest.mark.parametrize("kind", [Format.SRT, Format.VTT])
def test_segments_without_text_make_no_cue(kind: Format) -> None:
    assert render(transcript(said("  \n"), *TWO.segments), kind) == RENDERED[kind]


@pytest.mark.parametrize(
    ("kind", "dialect"), [(Format.CSV, "excel"), (Format.TSV, "excel-tab")]
)
def test_tables_quote_what_would_break_them(kind: Format, dialect: str) -> None:
    text = 'say "a, b"; then\tc'

    rows = list(csv.reader(io.StringIO(render(transcript(said(text)), kind)), dialect))

    assert rows == [["start", "end", "text"], ["0", "1000", 'say "a, b"; then c']]


def test_paragraphs_break_at_pauses() -> None:
    talk = transcript(said("One.", 0, 1), said("Two.", 1.5, 2), said("Three.", 3.5, 4))

    assert render(talk, Format.TXT, layout=Layout.SEGMENTATION) == "One. Two.\n\nThree.\n"


def test_paragraphs_break_at_speakers() -> None:
    talk = transcript(
        said("One.", 0, 1, "Ann"), said("Two.", 9, 10, "Ann"), said("Three.", 10, 11, "Ben")
    )

    assert render(talk, Format.TXT, layout=Layout.DIARISATION) == (
        "Ann: One. Two.\n\nBen: Three.\n"
    )


@pytest.mark.parametrize("layout", Layout)
def test_no_layout_invents_text(layout: Layout) -> None:
    assert render(Transcript(None, 1.0), Format.TXT, layout=layout) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00,000"),
        (-1, "00:00:00,000"),
        (59.9996, "00:01:00,000"),
        (3599.999, "00:59:59,999"),
        (100 * 3600, "100:00:00,000"),
        (1234 * 3600 + 61.5, "1234:01:01,500"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds, ",") == text


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        (Format.JSON, "application/json"),
        (Format.TXT, "text/plain; charset=utf-8"),
        (Format.SRT, "application/x-subrip; charset=utf-8"),
        (Format.VTT, "text/vtt; charset=utf-8"),
        (Format.TSV, "text/tab-separated-values; charset=utf-8"),
        (Format.CSV, "text/csv; charset=utf-8"),
    ],
)
def test_media_types(kind: Format, media_type: str) -> None:
    assert kind.media_type == media_type


@given(st.lists(st.text(), max_size=4), st.integers(1, 60) | st.none())
def test_srt_cues_can_be_told_apart_whatever_is_said(
    texts: list[str], width: int | None
) -> None:
    spoken = transcript(*(said(text, i, i + 1) for i, text in enumerate(texts)))
    text = render(spoken, Format.SRT, Shaping(chars_per_line=width))

    blocks = [block.split("\n") for block in text.split("\n\n") if block]
    assert [block[0] for block in blocks] == [str(n + 1) for n in range(len(blocks))]
    assert all(" --> " in block[1] and "-->" not in "".join(block[2:]) for block in blocks)
