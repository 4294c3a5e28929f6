"""Logarithmic mel spectra as Kaldi computes them, which CAM++ was trained on."""

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines.base import SAMPLE_RATE, Samples

BANDS = 80
STEP = SAMPLE_RATE // 100
"""Samples from one spectrum to the next (10 ms)."""

LENGTH = SAMPLE_RATE // 40
"""Samples that a spectrum is about (25 ms)."""

_FFT = 512
_LOWEST_HERTZ = 20.0
_EMPHASIS = 0.97
_FLOOR = np.float32(np.finfo(np.float32).eps)


def spectra(samples: Samples) -> NDArray[np.float32]:
    """(frames, BANDS); a spectrum for every STEP at which a whole LENGTH is there."""
    if len(samples) < LENGTH:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, LENGTH)[::STEP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    shaped = (frames - np.float32(_EMPHASIS) * before) * _WINDOW
    power = np.abs(np.fft.rfft(shaped, _FFT, axis=1)).astype(np.float32) ** 2
    return np.asarray(np.log(np.maximum(power @ _MEL, _FLOOR)), np.float32)


def _window() -> NDArray[np.float32]:
    turns = 2 * np.pi * np.arange(LENGTH) / (LENGTH - 1)
    return np.asarray((0.5 - 0.5 * np.cos(turns)) ** 0.85, np.float32)


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0))


def _mel_weights() -> NDArray[np.float32]:
    """(bins, BANDS): triangles that are even on the mel scale; the last bin counts nothing."""
    edges = np.linspace(_mel(_LOWEST_HERTZ), _mel(SAMPLE_RATE / 2), BANDS + 2)
    bins = _mel(np.arange(_FFT // 2) * SAMPLE_RATE / _FFT)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return np.pad(weights, ((0, 1), (0, 0))).astype(np.float32)


_WINDOW = _window()
_MEL = _mel_weights()
