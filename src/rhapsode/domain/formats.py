"""The text formats, each a pure function of the canonical transcript."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from rhapsode.domain.cues import Cue, Shaping, one_line, shape
from rhapsode.domain.jobs import Layout
from rhapsode.domain.transcripts import Segment, Transcript

PARAGRAPH_PAUSE_SECONDS = 1.5
"""A longer pause starts a new paragraph in the layouts that have paragraphs."""


class Format(StrEnum):
    """The text formats that a transcript can be had in."""

    JSON = "json"
    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        """The MIME type, UTF-8 throughout."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.TXT: "text/plain; charset=utf-8",
    Format.SRT: "application/x-subrip; charset=utf-8",
    Format.VTT: "text/vtt; charset=utf-8",
    Format.TSV: "text/tab-separated-values; charset=utf-8",
    Format.CSV: "text/csv; charset=utf-8",
}


def render(
    transcript: Transcript,
    format: Format,  # noqa: A002 (the product's word for it)
    shaping: Shaping | None = None,
    layout: Layout = Layout.SIMPLE,
) -> str:
    """The transcript in this format; shaping matters to srt and vtt, layout to txt."""
    writers: dict[Format, Callable[[], str]] = {
        Format.JSON: lambda: _json(transcript),
        Format.TXT: lambda: _txt(transcript, layout),
        Format.SRT: lambda: _srt(shape(transcript.segments, shaping or Shaping())),
        Format.VTT: lambda: _vtt(shape(transcript.segments, shaping or Shaping())),
        Format.TSV: lambda: _table(transcript, "excel-tab"),
        Format.CSV: lambda: _table(transcript, "excel"),
    }
    return writers[format]()


def _json(transcript: Transcript) -> str:
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1) + "\n"


def _txt(transcript: Transcript, layout: Layout) -> str:
    if layout is Layout.SIMPLE:
        return "".join(f"{_labelled(segment)}\n" for segment in transcript.segments)
    paragraphs = _paragraphs(transcript.segments, by_pause=layout is Layout.SEGMENTATION)
    return "\n".join(f"{_paragraph(segments)}\n" for segments in paragraphs)


def _labelled(segment: Segment) -> str:
    text = one_line(segment.text)
    return f"{one_line(segment.speaker)}: {text}" if segment.speaker else text


def _paragraph(segments: list[Segment]) -> str:
    first, *rest = segments
    return " ".join([_labelled(first), *(one_line(s.text) for s in rest)])


def _paragraphs(segments: Iterable[Segment], *, by_pause: bool) -> Iterator[list[Segment]]:
    held: list[Segment] = []
    for segment in segments:
        if held and _breaks(held[-1], segment, by_pause=by_pause):
            yield held
            held = []
        held.append(segment)
    if held:
        yield held


def _breaks(before: Segment, after: Segment, *, by_pause: bool) -> bool:
    if before.speaker != after.speaker:
        return True
    return by_pause and after.start - before.end >= PARAGRAPH_PAUSE_SECONDS


def _srt(cues: Iterable[Cue]) -> str:
    return "".join(
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{_srt_text(cue)}\n\n"
        for number, cue in enumerate(cues, start=1)
    )


def _srt_text(cue: Cue) -> str:
    text = "\n".join(cue.lines).replace("-->", "->")
    return f"[{cue.speaker}] {text}" if cue.speaker else text


def _vtt(cues: Iterable[Cue]) -> str:
    blocks = (
        f"\n{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{_vtt_text(cue)}\n"
        for cue in cues
    )
    return "WEBVTT\n" + "".join(blocks)


def _vtt_text(cue: Cue) -> str:
    text = _vtt_escaped("\n".join(cue.lines))
    return f"<v {_vtt_escaped(cue.speaker)}>{text}</v>" if cue.speaker else text


def _vtt_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clock(seconds: float, decimal: str) -> str:
    """`hh:mm:ss` and milliseconds after the decimal sign; hours grow beyond two digits."""
    milliseconds = max(0, round(seconds * 1000))
    minutes, ms = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{decimal}{ms % 1000:03}"


def _table(transcript: Transcript, dialect: str) -> str:
    """Whisper's table: milliseconds and text; a speaker column where speakers are known."""
    out = io.StringIO()
    writer = csv.writer(out, dialect=dialect, lineterminator="\n")
    with_speakers = any(segment.speaker for segment in transcript.segments)
    writer.writerow(["start", "end", *(["speaker"] if with_speakers else []), "text"])
    for segment in transcript.segments:
        speaker = [one_line(segment.speaker or "")] if with_speakers else []
        times = [round(segment.start * 1000), round(segment.end * 1000)]
        writer.writerow([*times, *speaker, one_line(segment.text)])
    return out.getvalue()
