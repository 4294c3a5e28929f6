"""What a job asks for beyond plain text, where the engine heeds it and where it does not."""

import re
from dataclasses import replace

from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import JobSpec
from rhapsode.domain.transcripts import Segment
from rhapsode.engines.base import Transcriber, Wish, takes

MOST_CONTEXT_CHARACTERS = 700
"""Whisper's context takes 223 tokens, which is about as much of most languages' text."""

_PUNCTUATION = re.compile(r"(?!(?<=\w)['’\-.,:](?=\w))[^\w\s%&@#+*/=<>$€£¥°§]|_")
"""Marks, but neither inside a word or a number nor such as are read aloud."""

_NAMES = {
    Wish.CONTEXT: "a prompt or hot words",
    Wish.TEMPERATURE: "a temperature",
    Wish.NUMERALS: "numbers as words",
}


def ensure_heeded(spec: JobSpec, transcriber: Transcriber) -> None:
    """Invalid where a translation is asked for and this model cannot do it."""
    if spec.translate_to and Wish.TRANSLATE not in takes(transcriber):
        raise Invalid(
            "translation_unavailable",
            f"The model {spec.engine}/{spec.model} cannot translate.",
            hint="A multilingual Whisper model can, into English.",
        )


def unheeded(spec: JobSpec, transcriber: Transcriber) -> tuple[str, ...]:
    """Warnings of what was asked for in vain."""
    asked = {
        Wish.CONTEXT: bool(spec.prompt or spec.hotwords),
        Wish.TEMPERATURE: spec.temperature is not None,
        Wish.NUMERALS: not spec.numerals,
    }
    heeded = takes(transcriber)
    missed = [
        _NAMES[wish] for wish, is_asked in asked.items() if is_asked and wish not in heeded
    ]
    told = [f"The engine {spec.engine} takes no account of {what}." for what in missed]
    length = len(spec.prompt or "") + sum(len(word) + 2 for word in spec.hotwords)
    if Wish.CONTEXT in heeded and length > MOST_CONTEXT_CHARACTERS:
        told.append(
            f"Prompt and hot words have {length} characters together; the model heeds only "
            f"about {MOST_CONTEXT_CHARACTERS} of them."
        )
    return tuple(told)


def without_punctuation(segment: Segment) -> Segment:
    """The segment without punctuation marks; words that were nothing else are gone."""
    words = tuple(
        replace(word, text=text) for word in segment.words if (text := _bare(word.text))
    )
    return replace(segment, text=_bare(segment.text), words=words)


def _bare(text: str) -> str:
    return " ".join(_PUNCTUATION.sub(" ", text).split())
