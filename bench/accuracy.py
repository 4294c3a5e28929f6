"""Accuracy: what engines hear through Rhapsode and by their libraries alone, and in sound
without a word.

`python -m bench.accuracy` prints the tables that docs/reference/accuracy.md has.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench import clips, hush, reader
from bench.clips import Clip
from bench.reader import BARE, OURS, SPLIT, WHOLE, Order, Reading
from bench.report import Figure, machine, note
from rhapsode.domain.word_errors import word_errors
from rhapsode.engines import registry
from rhapsode.engines.base import SAMPLE_RATE
from tests.support import speech

PART = "accuracy"
POINTS_LOST = 0.2
"""Points of word error rate that our way may cost against the library alone."""

SPLIT_POINTS = 0.3
MODELS = (
    ("faster-whisper", "tiny.en"),
    ("faster-whisper", "base"),
    ("whisper.cpp", "tiny"),
    ("whisper.cpp", "base.en"),
    ("moonshine", "tiny-en"),
    ("openai-whisper", "tiny.en"),
    ("onnx-asr", "whisper-tiny"),
)
"""Those whose weights the package registries carry; the last is made of whisper.cpp's."""

SECONDS_AT_ONCE = {("onnx-asr", BARE): 30.0}
"""What a library hears at most in one call."""

RARE = {"two-cities": "incredulity"}
"""A word that small models mishear, by the clip that it is said in."""

_SOUNDS = Path(__file__).resolve().parents[1] / ".cache" / "bench" / "accuracy"


@dataclass(frozen=True, slots=True)
class Score:
    """Words wrong, of so many."""

    wrong: int
    words: int

    @property
    def percent(self) -> float:
        """The word error rate."""
        return 100 * self.wrong / max(1, self.words)

    def __add__(self, other: "Score") -> "Score":
        return Score(self.wrong + other.wrong, self.words + other.words)


NONE = Score(0, 0)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that can be measured here."""

    engine: str
    model: str
    folder: Path
    packages: str | None = None

    @property
    def name(self) -> str:
        """`engine/model`."""
        return f"{self.engine}/{self.model}"

    def read(self, way: str, recordings: Sequence[Path], words: Sequence[str] = ()) -> Reading:
        """What it hears in these."""
        note(f"accuracy: {self.name}, {way}, {len(recordings)} recordings")
        return reader.read(
            Order(
                self.engine,
                self.folder,
                way,
                tuple(recordings),
                hotwords=tuple(words),
                packages=self.packages,
            )
        )


@cache
def _normaliser() -> object:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()


def normalised(text: str) -> str:
    """As the Open ASR leaderboard compares English: by Whisper's own rules."""
    made = _normaliser()
    assert callable(made)
    return str(made(text))


def scored(clip: Clip, text: str) -> Score:
    """What is wrong in a text."""
    said = normalised(clip.text)
    return Score(word_errors(said, normalised(text)), len(said.split()))


def subjects(wanted: Sequence[str], packages: str | None) -> Iterator[Subject]:
    """The models that can be measured here; the others are told of."""
    for engine, model in MODELS:
        if wanted and f"{engine}/{model}" not in wanted:
            continue
        found = registry.probed(registry.get(engine))
        outside = packages if not found.available else None
        if not found.available and outside is None:
            note(f"accuracy: {engine}/{model} is left out: {found.detail} (see --packages)")
            continue
        yield Subject(engine, model, _folder(engine, model), outside)


def _folder(engine: str, model: str) -> Path:
    if engine == "onnx-asr":
        from tests.support import onnx_whisper

        return onnx_whisper.model_path()
    return speech.engine_model(engine, model)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one model made of the clips, ours and bare; None where a call cannot take one."""

    subject: Subject
    clips: tuple[Clip, ...]
    ours: Reading
    bare: Reading

    def scores(self, way: str) -> list[Score | None]:
        """By clip."""
        reading = self.ours if way == OURS else self.bare
        return [
            scored(clip, text.text) if fits(self.subject, way, clip) else None
            for clip, text in zip(self.clips, reading.texts, strict=True)
        ]

    def compared(self) -> tuple[Score, Score]:
        """Ours and the bare one's, of the clips that both can take."""
        pairs = zip(self.scores(OURS), self.scores(BARE), strict=True)
        both = [(ours, bare) for ours, bare in pairs if ours and bare]
        return sum((o for o, _ in both), NONE), sum((b for _, b in both), NONE)

    def pace(self, way: str) -> tuple[float, float]:
        """Seconds of the clock, and of cores, for a second of sound."""
        reading = self.ours if way == OURS else self.bare
        sound = sum(length(clip) for clip in self.clips)
        return (
            sum(text.seconds for text in reading.texts) / sound,
            sum(text.processor_seconds for text in reading.texts) / sound,
        )


def length(clip: Clip) -> float:
    """Seconds."""
    return len(clips.decoded(clip.path)) / SAMPLE_RATE


def fits(subject: Subject, way: str, clip: Clip) -> bool:
    """Whether it can take the clip in one call."""
    return length(clip) <= SECONDS_AT_ONCE.get((subject.engine, way), float("inf"))


def heard(subject: Subject, every: Sequence[Clip]) -> Heard:
    """The clips, read both ways."""
    paths = [clip.path for clip in every]
    return Heard(subject, tuple(every), subject.read(OURS, paths), subject.read(BARE, paths))


def clip_table(results: Sequence[Heard]) -> str:
    """Engine × model × clip."""
    every = results[0].clips
    names = [clip.name.removesuffix(".wav") for clip in every]
    head = ["Model", "Way", *names, "**All**", "Real-time factor", "CPU s/s", "Peak MB"]
    rows = [_cells(result, way) for result in results for way in (OURS, BARE)]
    return markdown(head, rows)


def _cells(result: Heard, way: str) -> list[str]:
    scores = result.scores(way)
    reading = result.ours if way == OURS else result.bare
    clock, cores = result.pace(way)
    both = result.compared()[0 if way == OURS else 1]
    return [
        result.subject.name,
        "Rhapsode" if way == OURS else "library",
        *("–" if score is None else f"{score.percent:.1f}" for score in scores),
        f"**{both.percent:.2f}**",
        f"{clock:.2f}",
        f"{cores:.2f}",
        str(reading.peak // 2**20),
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as the docs have it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def clip_figures(results: Sequence[Heard]) -> list[Figure]:
    """What Rhapsode costs in accuracy."""
    figures = []
    for result in results:
        ours, bare = result.compared()
        figures.append(
            Figure(
                part=PART,
                name=f"{result.subject.name}: WER − the library's",
                value=ours.percent - bare.percent,
                unit="points",
                at_most=POINTS_LOST,
                detail=f"{ours.wrong} and {bare.wrong} of {ours.words} words",
            )
        )
    return figures


@dataclass(frozen=True, slots=True)
class Seams:
    """A long recording read in one call, in blocks, and through the pipeline."""

    subject: Subject
    minutes: float
    scores: dict[str, Score]
    paces: dict[str, float]


def seams(subject: Subject, long: Clip) -> Seams:
    """What cutting costs."""
    scores, paces = {}, {}
    for way in (WHOLE, SPLIT, OURS):
        (text,) = subject.read(way, [long.path]).texts
        scores[way] = scored(long, text.text)
        paces[way] = text.seconds / length(long)
    return Seams(subject, length(long) / 60, scores, paces)


def seam_table(found: Sequence[Seams]) -> str:
    """Word error rates, and seconds a second of sound."""
    head = ["Model", "Minutes", "in one call", "in blocks of 30 s", "pipeline"]
    rows = [
        [
            one.subject.name,
            f"{one.minutes:.1f}",
            *(f"{one.scores[way].percent:.2f} % ({one.paces[way]:.2f})" for way in one.scores),
        ]
        for one in found
    ]
    return markdown(head, rows)


def seam_figures(found: Sequence[Seams]) -> list[Figure]:
    """The split run against the unsplit one; half minutes (mixed languages) only inform."""
    return [
        Figure(
            part=PART,
            name=f"{one.subject.name}: WER, {name} − in one call",
            value=score.percent - one.scores[WHOLE].percent,
            unit="points",
            at_most=SPLIT_POINTS if name == OURS else None,
            detail=f"{score.wrong} and {one.scores[WHOLE].wrong} of {score.words} words",
        )
        for one in found
        for name, score in one.scores.items()
        if name != WHOLE
    ]


@dataclass(frozen=True, slots=True)
class Invented:
    """Words that a model heard in each kind of sound without any, and beside speech."""

    subject: Subject
    words: dict[str, int]
    beside: Score


def invented(subject: Subject, minutes: float, spoken: Sequence[Clip]) -> Invented:
    """Through the pipeline, as every job goes."""
    paths = dict(_hushes(minutes))
    between = _between(spoken)
    texts = subject.read(OURS, [*paths.values(), between.path]).texts
    counts = {
        kind: len(text.text.split()) for kind, text in zip(paths, texts[:-1], strict=True)
    }
    return Invented(subject, counts, scored(between, texts[-1].text))


def _hushes(minutes: float) -> Iterator[tuple[str, Path]]:
    for kind, sound in hush.all_kinds(minutes):
        path = _SOUNDS / f"{kind}.wav"
        clips.write(path, sound)
        yield kind, path


def _between(spoken: Sequence[Clip]) -> Clip:
    """Somebody speaks, then ten seconds of every fourth kind of sound, then the next one.

    Different clips: of one that is said again and again, Whisper takes the text for a loop.
    """
    sounds, texts = [], []
    for clip, kind in zip(cycle(spoken), list(hush.KINDS)[1::4], strict=False):
        sounds += [clips.decoded(clip.path), hush.made(kind, 10)]
        texts.append(clip.text)
    path = _SOUNDS / "between.wav"
    clips.write(path, np.concatenate(sounds))
    return Clip("between", path, " ".join(texts))


def invented_table(found: Sequence[Invented]) -> str:
    """Words by kind; in the last line, the errors where speech is in between."""
    head = ["Sound", *(one.subject.name for one in found)]
    rows = [[kind, *(str(one.words[kind]) for one in found)] for kind in hush.KINDS]
    between = [f"{one.beside.wrong} of {one.beside.words}" for one in found]
    return markdown(head, [*rows, ["between speech: words wrong", *between]])


def invented_figures(found: Sequence[Invented], minutes: float) -> list[Figure]:
    """No word should be there."""
    return [
        Figure(
            part=PART,
            name=f"{one.subject.name}: words in {minutes:g} min without any",
            value=sum(one.words.values()),
            at_most=0,
        )
        for one in found
    ]


def hot_words(result: Heard) -> list[str] | None:
    """A rare word as it is heard without and with being named; None where nothing can be."""
    if result.subject.engine not in {"faster-whisper", "whisper.cpp", "openai-whisper"}:
        return None
    (clip, word), *_ = [(clip, RARE[clip.name]) for clip in result.clips if clip.name in RARE]
    without = result.ours.texts[result.clips.index(clip)].text
    (named,) = result.subject.read(OURS, [clip.path], words=[word]).texts
    cells = [result.subject.name, word]
    for text in (without, named.text):
        found = normalised(text).split().count(word)
        cells.append(f"{'right' if found else 'wrong'}, WER {scored(clip, text).percent:.1f} %")
    return cells


def measure(
    wanted: Sequence[str],
    packages: str | None,
    minutes: float,
    hush_minutes: float,
    show: Callable[[str], None] = lambda _: None,
) -> list[Figure]:
    """The figures; `show` gets each table as it is made, since all of them take long."""
    every = clips.clips()
    chosen = list(subjects(wanted, packages))
    results = [heard(subject, every) for subject in chosen]
    show(clip_table(results))
    silent = [invented(subject, hush_minutes, every) for subject in chosen]
    show(invented_table(silent))
    named = [cells for result in results if (cells := hot_words(result))]
    show(markdown(["Model", "Word", "without", "as a hot word"], named))
    long = clips.joined(every, minutes, _SOUNDS / "joined.wav")
    cuts = [seams(subject, long) for subject in chosen]
    show(seam_table(cuts))
    return [
        *clip_figures(results),
        *seam_figures(cuts),
        *invented_figures(silent, hush_minutes),
    ]


def main(
    models: Annotated[
        list[str] | None, typer.Argument(help="As in `faster-whisper/base`; else all.")
    ] = None,
    *,
    packages: Annotated[
        str | None,
        typer.Option(help="A site-packages folder with libraries that are missing here."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="The long recording; above 5 it has seams.")
    ] = 11,
    hush_minutes: Annotated[float, typer.Option(help="Sound without a word.")] = 11,
) -> None:
    """Print the tables as Markdown."""
    print(f"{machine()}\n", flush=True)
    figures = measure(
        models or (), packages, minutes, hush_minutes, lambda table: print(table, flush=True)
    )
    rows = [
        [figure.name, f"{figure.value:.2f}", figure.target, figure.detail] for figure in figures
    ]
    print(markdown(["Figure", "Value", "Target", ""], rows))


if __name__ == "__main__":
    typer.run(main)
