"""Sound in which nobody says a word, of many kinds, made here: always the same."""

from collections.abc import Callable, Iterator

import numpy as np

from rhapsode.engines.base import SAMPLE_RATE, Samples

_LOUD, _LOW = 0.3, 0.003
_KEYS = ((697, 1209), (697, 1336), (770, 1477), (852, 1209), (941, 1336), (941, 1477))
_CHORDS = (
    (261.6, 329.6, 392.0),
    (220.0, 261.6, 329.6),
    (174.6, 220.0, 261.6),
    (196.0, 246.9, 293.7),
)
Maker = Callable[[float, np.random.Generator], Samples]


def _count(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE)


def _times(seconds: float) -> Samples:
    return np.arange(_count(seconds), dtype=np.float32) / SAMPLE_RATE


def _level(sound: Samples, rms: float) -> Samples:
    return (sound * (rms / (np.sqrt(np.mean(np.square(sound))) + 1e-12))).astype(np.float32)


def coloured(seconds: float, slope: float, chance: np.random.Generator) -> Samples:
    """Noise whose power falls with the frequency to the power of `slope`: 0 is white."""
    count = _count(seconds)
    spectrum = np.fft.rfft(chance.standard_normal(count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 20.0)
    return np.fft.irfft(spectrum / frequencies ** (slope / 2), count).astype(np.float32)


def _noise(slope: float, rms: float) -> Maker:
    return lambda seconds, chance: _level(coloured(seconds, slope, chance), rms)


def _tones(frequencies: tuple[float, ...], seconds: float) -> Samples:
    times = _times(seconds)
    waves = [np.sin(2 * np.pi * frequency * times) for frequency in frequencies]
    return np.sum(waves, axis=0).astype(np.float32)


def _silence(seconds: float, _: np.random.Generator) -> Samples:
    return np.zeros(_count(seconds), np.float32)


def _hum(seconds: float, chance: np.random.Generator) -> Samples:
    mains = _tones((50, 100, 150, 250), seconds)
    return _level(mains, 0.05) + _level(coloured(seconds, 0, chance), 0.002)


def _keyed(tone: tuple[float, ...], on: float, off: float, rms: float) -> Maker:
    """A tone that comes and goes, as telephones do."""

    def make(seconds: float, _: np.random.Generator) -> Samples:
        sound = _level(_tones(tone, seconds), rms)
        return (sound * (_times(seconds) % (on + off) < on)).astype(np.float32)

    return make


def _dialling(seconds: float, _: np.random.Generator) -> Samples:
    press = [np.pad(_tones(key, 0.12), (0, _count(0.08))) for key in _KEYS]
    line = np.concatenate([*press, np.zeros(_count(2), np.float32)])
    return _level(np.resize(line, _count(seconds)), 0.1)


def _plucked(frequency: float, seconds: float) -> Samples:
    times = _times(seconds)
    tone = sum(np.sin(2 * np.pi * frequency * n * times) / n**1.5 for n in range(1, 7))
    return np.asarray(tone * np.exp(-3 * times), np.float32)


def _arpeggios(seconds: float, _: np.random.Generator) -> Samples:
    notes = [_plucked(note * 2, 0.25) for chord in _CHORDS for note in (*chord, chord[1])]
    return _level(np.resize(np.concatenate(notes), _count(seconds)), 0.1)


def _chords(seconds: float, _: np.random.Generator) -> Samples:
    """Slow strings: every note with overtones, a swell, and a little vibrato."""
    times = _times(2.0)
    vibrato = 1 + 0.003 * np.sin(2 * np.pi * 5 * times)
    bars = []
    for chord in _CHORDS:
        phases = [2 * np.pi * np.cumsum(note * vibrato) / SAMPLE_RATE for note in chord]
        bars.append(sum(np.sin(n * phase) / n for phase in phases for n in range(1, 6)))
    swell = np.sin(np.pi * times / 2.0) ** 0.5
    line = np.concatenate([bar * swell for bar in bars])
    return _level(np.resize(line, _count(seconds)).astype(np.float32), 0.1)


def _beat(seconds: float, chance: np.random.Generator) -> Samples:
    """Drums and a bass line, 120 beats a minute."""
    times = _times(0.5)
    kick = np.sin(2 * np.pi * 60 * np.exp(-4 * times) * times) * np.exp(-9 * times)
    snare = chance.standard_normal(len(times)) * np.exp(-18 * times)
    bass = [_plucked(chord[0] / 2, 0.5) for chord in _CHORDS]
    bars = [drum + 0.6 * low for low in bass for drum in (kick, snare)]
    return _level(np.resize(np.concatenate(bars), _count(seconds)).astype(np.float32), 0.1)


def _applause(seconds: float, chance: np.random.Generator) -> Samples:
    """Thousands of short bursts of noise, in waves."""
    count = _count(seconds)
    claps = np.zeros(count, np.float32)
    at = chance.integers(0, count, int(60 * seconds))
    claps[at] = chance.uniform(0.2, 1.0, len(at)) * chance.choice([-1.0, 1.0], len(at))
    burst = chance.standard_normal(240) * np.exp(-np.arange(240) / 50)
    size = count + len(burst)
    sound = np.fft.irfft(np.fft.rfft(claps, size) * np.fft.rfft(burst, size), size)[:count]
    waves = 0.6 + 0.4 * np.sin(2 * np.pi * 0.2 * _times(seconds))
    return _level((sound * waves).astype(np.float32), 0.1)


def _clicks(seconds: float, chance: np.random.Generator) -> Samples:
    """A keyboard, a door, a chair: single knocks over a quiet room."""
    sound = _level(coloured(seconds, 1, chance), 0.002)
    for start in chance.integers(0, _count(seconds) - 4000, int(2 * seconds)):
        length = int(chance.integers(200, 4000))
        knock = coloured(length / SAMPLE_RATE, 1, chance) * np.exp(-np.arange(length) / 300)
        sound[start : start + length] += _level(knock, chance.uniform(0.02, 0.2))
    return sound


def _sweep(seconds: float, _: np.random.Generator) -> Samples:
    """A siren: through the range of voices, up and down."""
    times = _times(seconds)
    frequency = 700 + 400 * np.sin(2 * np.pi * 0.4 * times)
    return (0.2 * np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE)).astype(np.float32)


def _voiced(pitches: tuple[float, ...], formants: tuple[float, ...], seconds: float) -> Samples:
    """A vowel sung at several pitches: overtones shaped by where a mouth resonates."""
    times = _times(seconds)
    sound = np.zeros(len(times))
    for pitch in pitches:
        phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * times)))
        for overtone in range(1, int(4000 / pitch)):
            gain = sum(np.exp(-(((overtone * pitch - peak) / 90) ** 2)) for peak in formants)
            sound += (gain + 0.02) * np.sin(overtone * phase / SAMPLE_RATE)
    return (sound * np.sin(np.pi * times / seconds) ** 0.3).astype(np.float32)


def _choir(seconds: float, _: np.random.Generator) -> Samples:
    vowels = ((730, 1090, 2440), (270, 870, 2240))
    parts = [_voiced(chord, vowels[bar % 2], 2.0) for bar, chord in enumerate(_CHORDS)]
    return _level(np.resize(np.concatenate(parts), _count(seconds)), 0.1)


def _humming(seconds: float, _: np.random.Generator) -> Samples:
    tune = (196.0, 220.0, 246.9, 220.0, 196.0, 174.6)
    parts = [_voiced((note,), (250, 1000, 2200), 0.6) for note in tune]
    rest = np.zeros(_count(1.0), np.float32)
    return _level(np.resize(np.concatenate([*parts, rest]), _count(seconds)), 0.08)


KINDS: dict[str, Maker] = {
    "digital silence": _silence,
    "white noise, loud": _noise(0, _LOUD / 3),
    "white noise, low": _noise(0, _LOW),
    "pink noise, loud": _noise(1, _LOUD / 3),
    "pink noise, low": _noise(1, _LOW),
    "brown noise, loud": _noise(2, _LOUD / 3),
    "brown noise, low": _noise(2, _LOW),
    "mains hum": _hum,
    "ringing, Europe": _keyed((425,), 1.0, 4.0, 0.1),
    "ringing, America": _keyed((440, 480), 2.0, 4.0, 0.1),
    "engaged tone": _keyed((480, 620), 0.5, 0.5, 0.1),
    "hold beep": _keyed((1400,), 0.5, 14.5, 0.1),
    "dialling": _dialling,
    "arpeggios": _arpeggios,
    "strings": _chords,
    "drums and bass": _beat,
    "choir": _choir,
    "humming": _humming,
    "applause": _applause,
    "knocks": _clicks,
    "siren": _sweep,
}


def made(kind: str, seconds: float) -> Samples:
    """So many seconds of one kind, at most as loud as a recording can be."""
    sound = KINDS[kind](seconds, np.random.default_rng(sorted(KINDS).index(kind)))
    return np.clip(sound, -1.0, 1.0)


def all_kinds(minutes: float) -> Iterator[tuple[str, Samples]]:
    """Every kind, for so long together."""
    seconds = minutes * 60 / len(KINDS)
    for kind in KINDS:
        yield kind, made(kind, seconds)
