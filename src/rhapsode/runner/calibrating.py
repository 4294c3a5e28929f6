"""A calibration: measures how a model loads fastest here, without a worse text.

One setting after the other is varied, each from the best so far; what is faster by a twentieth
and makes no more mistakes stays. It ends when all are tried or the time is up, and then the
best and the engine's own choice are measured once more.
"""

import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.word_errors import word_error_rate
from rhapsode.engines import audio
from rhapsode.engines.base import SAMPLE_RATE, LoadSettings, Samples
from rhapsode.runner.calibrations import Calibration
from rhapsode.runner.measuring import Measured, Order, measured

BUDGET_SECONDS = 60.0
"""For one model; what is under way then may end."""

TRIALS_SHARE = 0.7
"""Of the budget; the rest is for the last comparison."""

PATIENCE_SECONDS = 300.0
"""The engine's own choice may take this long, on a slow machine or with a large model."""

READING_SECONDS = 2.0
"""How long one reading of the sample should take at least: shorter ones scatter."""

MOST_TIMES = 90
LEAST_GAIN = 1.05
MOST_WORSE = 0.005
_PAUSE = np.zeros(SAMPLE_RATE, np.float32)


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording, and what is said in it (in English)."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is installed, and the languages that it knows; none where it may be any."""

    engine: str
    engine_version: str
    model: str
    folder: Path
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """One measurement: its settings, and its speed or why there is none."""

    settings: LoadSettings
    speed: float | None
    remark: str = ""


Report = Callable[[Tried], None]


def calibrate(
    subject: Subject,
    asked: LoadSettings,
    sample: Sample,
    report: Report,
    budget: float = BUDGET_SECONDS,
) -> Calibration:
    """The fastest right settings of a model, within those `asked` for.

    Unavailable (`calibration_failed`) where the model cannot be measured as it loads by itself.
    """
    with tempfile.TemporaryDirectory(prefix="rhapsode-calibration-") as folder:
        return _Search(subject, asked, sample, report, budget, Path(folder)).run()


@dataclass
class _Search:
    subject: Subject
    asked: LoadSettings
    sample: Sample
    report: Report
    budget: float
    folder: Path
    times: int = 1
    recording: Path = field(init=False)
    seconds: float = field(init=False)
    said: str = field(init=False)
    patience: float = PATIENCE_SECONDS

    def run(self) -> Calibration:
        self._read_times(1)
        started = time.monotonic()
        own = self._own()
        deadline = started + TRIALS_SHARE * self.budget
        self.patience = 10 + 6 * self.seconds / own.speed
        self.said = self._reference(own)
        best_settings, best = self.asked, own
        for name, value in self._trials(own):
            if time.monotonic() > deadline:
                break
            settings = replace(best_settings, **{name: value})
            found = self._measured(settings, self.patience)
            if isinstance(found, Measured) and self._is_better(found, best, own):
                best_settings, best = settings, found
        if best is own:
            return self._made(self.asked, own, own)
        return self._confirmed(best_settings, best, own)

    def _confirmed(self, settings: LoadSettings, best: Measured, own: Measured) -> Calibration:
        """Both once more, in turn: other work on the machine can make anything look slow."""
        again = (
            self._measured(self.asked, self.patience),
            self._measured(settings, self.patience),
        )
        own, best = _faster(own, again[0]), _faster(best, again[1])
        if self._is_better(best, own, own):
            return self._made(settings, best, own)
        return self._made(self.asked, own, own)

    def _own(self) -> Measured:
        """The engine's own choice, read often enough for its speed."""
        found = self._needed()
        clip = self.seconds
        times = round(READING_SECONDS * found.speed / clip)
        if times <= 1:
            return found
        self._read_times(min(times, MOST_TIMES))
        return self._needed()

    def _needed(self) -> Measured:
        found = self._measured(self.asked, PATIENCE_SECONDS)
        if isinstance(found, Measured) and found.text:
            return found
        why = "it hears nothing in the sample" if isinstance(found, Measured) else found
        name = f"{self.subject.engine}/{self.subject.model}"
        raise Unavailable("calibration_failed", f"{name} cannot be measured: {why}.")

    def _trials(self, own: Measured) -> Iterator[tuple[str, Any]]:
        """What to vary, and how."""
        for name, values in own.choices.items():
            if getattr(self.asked, name) not in {None, "auto"}:
                continue  # fixed by whoever asked
            for value in values:
                yield name, value

    def _is_better(self, found: Measured, best: Measured, own: Measured) -> bool:
        if self._errors(found) > self._errors(own) + MOST_WORSE:
            return False
        return found.speed >= LEAST_GAIN * best.speed

    def _measured(self, settings: LoadSettings, patience: float) -> Measured | str:
        language = self._language()
        subject = self.subject
        found = measured(
            Order(
                subject.engine, subject.folder, settings, self.recording, self.seconds, language
            ),
            patience,
        )
        if isinstance(found, Measured):
            self.report(Tried(settings, found.speed))
        else:
            self.report(Tried(settings, None, found))
        return found

    def _language(self) -> str | None:
        known = self.subject.languages
        return "en" if not known or "en" in known else known[0]

    def _reference(self, own: Measured) -> str:
        """What should be heard; of a model without English, what it hears by itself."""
        is_english = self._language() == "en"
        return " ".join([self.sample.text] * self.times) if is_english else own.text

    def _errors(self, found: Measured) -> float:
        return word_error_rate(self.said, found.text)

    def _read_times(self, times: int) -> None:
        """Make the recording: the sample so many times, with pauses."""
        clip = np.concatenate(list(audio.decode(self.sample.path)))
        sound = np.concatenate([part for _ in range(times) for part in (clip, _PAUSE)])
        self.times = times
        self.seconds = len(sound) / SAMPLE_RATE
        self.recording = self.folder / f"sample-{times}.wav"
        _write(self.recording, sound)

    def _made(self, settings: LoadSettings, best: Measured, own: Measured) -> Calibration:
        return Calibration(
            engine=self.subject.engine,
            engine_version=self.subject.engine_version,
            model=self.subject.model,
            settings=settings,
            speed=best.speed,
            own_speed=own.speed,
            word_errors=round(self._errors(best), 4),
            own_word_errors=round(self._errors(own), 4),
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _faster(one: Measured, other: Measured | str) -> Measured:
    return other if isinstance(other, Measured) and other.speed > one.speed else one


def _write(path: Path, sound: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
