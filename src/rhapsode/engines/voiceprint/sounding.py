"""What a voice sounds like, as a vector: the network CAM++ of 3D-Speaker.

Two vectors of one voice point in about the same direction, whatever is said. The weights
(Apache-2.0, trained on 200 000 Chinese and English speakers) are rebuilt here as a graph: a
small two-dimensional convolution over the spectrum, three dense blocks over time in which
every layer is weighed by the context of its second, and the mean and deviation over time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines.voiceprint.checkpoint import Tensors
from rhapsode.engines.voiceprint.onnx import Graph, session
from rhapsode.engines.voiceprint.spectrum import BANDS

DIMENSIONS = 192
LEAST_FRAMES = 10
"""Spectra (of 10 ms each) below which there is no telling a voice."""

Vector = NDArray[np.float32]
"""DIMENSIONS numbers, of length 1."""

_BLOCKS = ((12, 1), (24, 2), (16, 2))
_CONTEXT = 100


class VoiceMeter:
    """The network in memory."""

    def __init__(self, tensors: Tensors, threads: int) -> None:
        self._session = session(_model(tensors), threads)

    def vector(self, spectra: NDArray[np.float32]) -> Vector:
        """The voice in (frames, BANDS) spectra, of which LEAST_FRAMES are needed."""
        centred = spectra - spectra.mean(axis=0)
        frames = (len(spectra) + 1) // 2
        gather, spread = _contexts(frames)
        inputs = {
            "spectra": centred.T[None, None],
            "gather": gather,
            "spread": spread,
            "correction": np.array([frames / max(1, frames - 1)], np.float32),
        }
        (vectors,) = self._session.run(None, inputs)
        return unit(np.asarray(vectors[0], np.float32))


def unit(vector: NDArray[np.float32]) -> Vector:
    """The vector at length 1."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def _contexts(frames: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices that average frames by their second (and over all), and spread that back."""
    belongs = np.arange(frames)[:, None] // _CONTEXT == np.arange(-(-frames // _CONTEXT))
    member = belongs.astype(np.float32)
    return member / member.sum(axis=0) + np.float32(1 / frames), member.T.copy()


class _Layers:
    """The network's kinds of layers, by the names of their weights."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.graph = Graph()

    def conv(self, name: str, at: str, **attributes: Any) -> str:
        weights = [self.graph.constant(self.tensors[f"{name}.weight"])]
        if f"{name}.bias" in self.tensors:
            weights.append(self.graph.constant(self.tensors[f"{name}.bias"]))
        return self.graph.add("Conv", at, *weights, **attributes)

    def norm(self, name: str, at: str) -> str:
        mean, variance = (self.tensors[f"{name}.running_{part}"] for part in ("mean", "var"))
        scale = self.tensors.get(f"{name}.weight", np.ones_like(mean))
        shift = self.tensors.get(f"{name}.bias", np.zeros_like(mean))
        values = [self.graph.constant(value) for value in (scale, shift, mean, variance)]
        return self.graph.add("BatchNormalization", at, *values, epsilon=1e-5)

    def norm_relu(self, name: str, at: str) -> str:
        return self.graph.add("Relu", self.norm(name, at))


def _model(tensors: Tensors) -> bytes:
    layers = _Layers(tensors)
    graph = layers.graph
    at = _head(layers, graph.input("spectra", [1, 1, BANDS, "time"]))
    graph.input("gather", ["frames", "seconds"])
    graph.input("spread", ["seconds", "frames"])
    graph.input("correction", [1])
    at = layers.conv("xvector.tdnn.linear", at, strides=[2], pads=[2, 2])
    at = layers.norm_relu("xvector.tdnn.nonlinear.batchnorm", at)
    for index, (count, dilation) in enumerate(_BLOCKS, start=1):
        for number in range(1, count + 1):
            name = f"xvector.block{index}.tdnnd{number}"
            at = graph.add("Concat", at, _dense_layer(layers, name, at, dilation), axis=1)
        name = f"xvector.transit{index}"
        at = layers.norm_relu(f"{name}.nonlinear.batchnorm", at)
        at = layers.conv(f"{name}.linear", at)
    at = layers.norm_relu("xvector.out_nonlinear.batchnorm", at)
    at = layers.conv("xvector.dense.linear", _statistics(graph, at))
    at = layers.norm("xvector.dense.nonlinear.batchnorm", at)
    at = graph.add("Reshape", at, graph.constant(np.array([1, DIMENSIONS])))
    return graph.finished(at, "vector", [1, DIMENSIONS])


def _head(layers: _Layers, at: str) -> str:
    """Two-dimensional: frequency is halved three times and then joins the channels."""
    same: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    at = layers.norm_relu("head.bn1", layers.conv("head.conv1", at, **same))
    for name in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        at = _residual(layers, f"head.{name}", at)
    at = layers.conv("head.conv2", at, strides=[2, 1], **same)
    at = layers.norm_relu("head.bn2", at)
    return layers.graph.add("Reshape", at, layers.graph.constant(np.array([1, 320, -1])))


def _residual(layers: _Layers, name: str, at: str) -> str:
    step = {"strides": [2 if name.endswith(".0") else 1, 1]}
    inner = layers.conv(f"{name}.conv1", at, pads=[1, 1, 1, 1], **step)
    inner = layers.norm_relu(f"{name}.bn1", inner)
    inner = layers.conv(f"{name}.conv2", inner, pads=[1, 1, 1, 1])
    inner = layers.norm(f"{name}.bn2", inner)
    if f"{name}.shortcut.0.weight" in layers.tensors:
        at = layers.norm(f"{name}.shortcut.1", layers.conv(f"{name}.shortcut.0", at, **step))
    return layers.graph.add("Relu", layers.graph.add("Add", inner, at))


def _dense_layer(layers: _Layers, name: str, at: str, dilation: int) -> str:
    """What a layer adds: a convolution over time, weighed by the context of each second."""
    graph = layers.graph
    at = layers.norm_relu(f"{name}.nonlinear1.batchnorm", at)
    at = layers.conv(f"{name}.linear1", at)
    at = layers.norm_relu(f"{name}.nonlinear2.batchnorm", at)
    reach = {"dilations": [dilation], "pads": [dilation, dilation]}
    local = layers.conv(f"{name}.cam_layer.linear_local", at, **reach)
    context = graph.add("MatMul", at, "gather")
    context = graph.add("Relu", layers.conv(f"{name}.cam_layer.linear1", context))
    weight = graph.add("Sigmoid", layers.conv(f"{name}.cam_layer.linear2", context))
    return graph.add("Mul", local, graph.add("MatMul", weight, "spread"))


def _statistics(graph: Graph, at: str) -> str:
    mean = graph.add("ReduceMean", at, axes=[2], keepdims=1)
    away = graph.add("Sub", at, mean)
    variance = graph.add("ReduceMean", graph.add("Mul", away, away), axes=[2], keepdims=1)
    deviation = graph.add("Sqrt", graph.add("Mul", variance, "correction"))
    return graph.add("Concat", mean, deviation, axis=1)
