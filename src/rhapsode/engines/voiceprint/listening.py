"""Who speaks when, within ten seconds: the network segmentation-3.0 of pyannote.audio.

It tells up to three voices apart, of which two may speak at once. Its weights are MIT
licensed (CNRS); the network is rebuilt here from its paper: learnt band-pass filters over the
raw sound, four bidirectional LSTM layers, and a classifier over sets of speakers.
"""

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines.base import SAMPLE_RATE, Samples
from rhapsode.engines.voiceprint.checkpoint import Tensors
from rhapsode.engines.voiceprint.onnx import Graph, session

WINDOW = 10 * SAMPLE_RATE
"""Samples that the network was trained to hear at once."""

VOICES = 3
"""Voices that it can tell apart within a window."""

FRAME_STEP = 270
"""Samples from one frame of its answer to the next."""

FRAMES = 589
"""Frames of a window."""

FRAME_CENTRE = 495
"""Samples from a window's start to the middle of what its first frame is about."""

Activity = NDArray[np.bool_]
"""(frames, VOICES): who speaks when."""

_SETS = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], bool
)
_LEAST_HERTZ = 50.0
_SLOPE = 0.01
_HIDDEN = 128
_LAYERS = 4


class Listener:
    """The network in memory."""

    def __init__(self, tensors: Tensors, threads: int) -> None:
        self._session = session(_model(tensors), threads)

    def activity(self, windows: Samples) -> NDArray[np.bool_]:
        """(windows, frames, VOICES) of sound that is (windows, WINDOW) samples."""
        (scores,) = self._session.run(None, {"sound": windows[:, None, :]})
        return np.asarray(_SETS[scores.argmax(axis=-1).T])


def _model(tensors: Tensors) -> bytes:
    graph = Graph()
    sound = graph.input("sound", ["batch", 1, WINDOW])
    at = _norm(graph, tensors, "sincnet.wav_norm1d", sound)
    at = graph.add("Conv", at, graph.constant(_filters(tensors)), strides=[10])
    at = _pooled(graph, tensors, 0, graph.add("Abs", at))
    for index in (1, 2):
        name = f"sincnet.conv1d.{index}"
        weights = [graph.constant(tensors[f"{name}.{part}"]) for part in ("weight", "bias")]
        at = _pooled(graph, tensors, index, graph.add("Conv", at, *weights))
    at = graph.add("Transpose", at, perm=[2, 0, 1])
    for layer in range(_LAYERS):
        at = _lstm(graph, tensors, layer, at)
    for name in ("linear.0", "linear.1"):
        at = graph.add("LeakyRelu", _linear(graph, tensors, name, at), alpha=_SLOPE)
    at = _linear(graph, tensors, "classifier", at)
    return graph.finished(at, "scores", ["frames", "batch", len(_SETS)])


def _norm(graph: Graph, tensors: Tensors, name: str, at: str) -> str:
    scales = [graph.constant(tensors[f"{name}.{part}"]) for part in ("weight", "bias")]
    return graph.add("InstanceNormalization", at, *scales, epsilon=1e-5)


def _pooled(graph: Graph, tensors: Tensors, index: int, at: str) -> str:
    at = graph.add("MaxPool", at, kernel_shape=[3], strides=[3])
    at = _norm(graph, tensors, f"sincnet.norm1d.{index}", at)
    return graph.add("LeakyRelu", at, alpha=_SLOPE)


def _linear(graph: Graph, tensors: Tensors, name: str, at: str) -> str:
    at = graph.add("MatMul", at, graph.constant(tensors[f"{name}.weight"].T))
    return graph.add("Add", at, graph.constant(tensors[f"{name}.bias"]))


def _lstm(graph: Graph, tensors: Tensors, layer: int, at: str) -> str:
    """Both directions of a layer; their outputs side by side."""
    ends = (f"l{layer}", f"l{layer}_reverse")
    inputs = np.stack([_gates(tensors[f"lstm.weight_ih_{end}"]) for end in ends])
    states = np.stack([_gates(tensors[f"lstm.weight_hh_{end}"]) for end in ends])
    biases = np.stack(
        [
            np.concatenate(
                [_gates(tensors[f"lstm.bias_{kind}_{end}"]) for kind in ("ih", "hh")]
            )
            for end in ends
        ]
    )
    weights = [graph.constant(value) for value in (inputs, states, biases)]
    at = graph.add("LSTM", at, *weights, hidden_size=_HIDDEN, direction="bidirectional")
    at = graph.add("Transpose", at, perm=[0, 2, 1, 3])
    return graph.add("Reshape", at, graph.constant(np.array([0, 0, 2 * _HIDDEN])))


def _gates(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """PyTorch's order of an LSTM's gates (in, forget, cell, out) in ONNX's (in, out, …)."""
    i, f, c, o = np.split(weights, 4)
    return np.concatenate([i, o, f, c])


def _filters(tensors: Tensors) -> NDArray[np.float32]:
    """The learnt band-pass filters: each band as a cosine and as a sine under a window."""
    prefix = "sincnet.conv1d.0.filterbank."
    low = _LEAST_HERTZ + np.abs(tensors[prefix + "low_hz_"].astype(np.float64))
    band = _LEAST_HERTZ + np.abs(tensors[prefix + "band_hz_"].astype(np.float64))
    high = np.clip(low + band, _LEAST_HERTZ, SAMPLE_RATE / 2)
    times = tensors[prefix + "n_"].astype(np.float64)
    window = tensors[prefix + "window_"].astype(np.float64)
    width = 2 * (high - low)
    scaled = window / (times / 2) / width
    cosines = (np.sin(high * times) - np.sin(low * times)) * scaled
    sines = (np.cos(low * times) - np.cos(high * times)) * scaled
    middle = np.ones((len(low), 1))
    both = [
        np.concatenate([cosines, middle, cosines[:, ::-1]], axis=1),
        np.concatenate([sines, 0 * middle, -sines[:, ::-1]], axis=1),
    ]
    return np.concatenate(both).astype(np.float32)[:, None, :]
