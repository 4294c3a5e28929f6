"""A real Whisper as ONNX, made of whisper.cpp's weights: no registry carries one ready-made.

The graph is Whisper's, with the names that Optimum's exports have and onnx-asr expects; the
decoder keeps nothing from step to step, which costs time and no accuracy.
"""

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.support import speech

_TYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
_WIDTH_OF_HEAD = 64


def model_path() -> Path:
    """The folder of the model `whisper-tiny`, made once."""
    folder = speech.cache_folder() / "built" / "whisper-tiny"
    if not (folder / "config.json").is_file():
        source = speech.engine_model("whisper.cpp", "tiny") / "ggml-tiny.bin"
        build(source, folder)
    return folder


def build(source: Path, folder: Path) -> None:
    """Writes the model of a multilingual ggml file as ONNX; the configuration comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file:
        words, tensors = _read(file)
    layers = len({name.split(".")[2] for name in tensors if name.startswith("encoder.blocks")})
    onnx.save(_encoder(tensors, layers), folder / "encoder_model.onnx")
    onnx.save(_decoder(tensors, layers), folder / "decoder_model_merged.onnx")
    letters = _letters()
    spelled = ["".join(letters[byte] for byte in word) for word in words]
    _write(folder / "vocab.json", {word: index for index, word in enumerate(spelled)})
    _write(folder / "added_tokens.json", _added(len(words)))
    size = len(tensors["decoder.token_embedding.weight"])
    config = {"model_type": "whisper", "num_mel_bins": 80, "vocab_size": size}
    _write(folder / "config.json", config)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _added(first: int) -> dict[str, int]:
    import _pywhispercpp as library

    codes = [library.whisper_lang_str(index) for index in range(99)]
    names = ["endoftext", "startoftranscript", *codes, "translate", "transcribe"]
    names += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    names += [f"{number / 50:.2f}" for number in range(1501)]
    return {f"<|{name}|>": first + index for index, name in enumerate(names)}


def _letters() -> list[str]:
    """A printable letter for each byte: those that are keep themselves, the rest follow."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _read(file: BinaryIO) -> tuple[list[bytes], dict[str, NDArray[np.float32]]]:
    file.read(4 + 11 * 4)
    rows, columns = struct.unpack("<2i", file.read(8))
    file.read(rows * columns * 4)
    words = [file.read(_int(file)) for _ in range(_int(file))]
    tensors = {}
    while description := file.read(12):
        dimensions, length, kind = struct.unpack("<3i", description)
        shape = tuple(_int(file) for _ in range(dimensions))[::-1]
        name = file.read(length).decode()
        dtype = _TYPES[kind]
        data = np.frombuffer(file.read(dtype.itemsize * int(np.prod(shape))), dtype)
        tensors[name] = data.reshape(shape).astype(np.float32)
    return words, tensors


def _int(file: BinaryIO) -> int:
    return int(struct.unpack("<i", file.read(4))[0])


class _Graph:
    """Operators as they are added, each named by its number."""

    def __init__(self, tensors: dict[str, NDArray[np.float32]]) -> None:
        self.tensors = tensors
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.tensors[name])

    def linear(self, x: str, name: str) -> str:
        weight = self.constant(f"{name}.weight", self.tensors[f"{name}.weight"].T)
        y = self.add("MatMul", x, weight)
        bias = f"{name}.bias"
        return self.add("Add", y, self.weight(bias)) if bias in self.tensors else y

    def norm(self, x: str, name: str) -> str:
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=1e-5)

    def conv(self, x: str, name: str, stride: int) -> str:
        bias = self.constant(f"{name}.bias", self.tensors[f"{name}.bias"].reshape(-1))
        weight = self.weight(f"{name}.weight")
        y = self.add("Conv", x, weight, bias, strides=[stride], pads=[1, 1])
        return self.add("Gelu", y)

    def attention(self, x: str, source: str, name: str, mask: str | None = None) -> str:
        """Each head has a scale of 1/sqrt(width), put on the queries."""
        scale = self.constant("scale", np.float32(_WIDTH_OF_HEAD**-0.5))
        query = self.add("Mul", self.linear(x, f"{name}.query"), scale)
        parts = [
            query,
            self.linear(source, f"{name}.key"),
            self.linear(source, f"{name}.value"),
        ]
        q, k, v = (self._heads(part) for part in parts)
        scores = self.add("MatMul", q, self.add("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.add("Add", scores, mask) if mask else scores
        mixed = self.add("MatMul", self.add("Softmax", scores, axis=-1), v)
        shape = self.constant("joined", np.array([0, 0, -1], np.int64))
        joined = self.add("Reshape", self.add("Transpose", mixed, perm=[0, 2, 1, 3]), shape)
        return self.linear(joined, f"{name}.out")

    def _heads(self, x: str) -> str:
        shape = self.constant("split", np.array([0, 0, -1, _WIDTH_OF_HEAD], np.int64))
        return self.add("Transpose", self.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    def block(
        self, x: str, name: str, source: str | None = None, mask: str | None = None
    ) -> str:
        y = self.norm(x, f"{name}.attn_ln")
        x = self.add("Add", x, self.attention(y, y, f"{name}.attn", mask))
        if source:
            y = self.norm(x, f"{name}.cross_attn_ln")
            x = self.add("Add", x, self.attention(y, source, f"{name}.cross_attn"))
        y = self.linear(self.norm(x, f"{name}.mlp_ln"), f"{name}.mlp.0")
        return self.add("Add", x, self.linear(self.add("Gelu", y), f"{name}.mlp.2"))

    def model(self, inputs: list[Any], value: str, output: Any) -> Any:
        self.nodes.append(helper.make_node("Identity", [value], [output.name]))
        constants = list(self.constants.values())
        graph = helper.make_graph(self.nodes, "whisper", inputs, [output], constants)
        opset = helper.make_opsetid("", 20)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def _value(name: str, *shape: Any, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _encoder(tensors: dict[str, NDArray[np.float32]], layers: int) -> Any:
    graph = _Graph(tensors)
    x = graph.conv("input_features", "encoder.conv1", 1)
    x = graph.add("Transpose", graph.conv(x, "encoder.conv2", 2), perm=[0, 2, 1])
    x = graph.add("Add", x, graph.weight("encoder.positional_embedding"))
    for index in range(layers):
        x = graph.block(x, f"encoder.blocks.{index}")
    x = graph.norm(x, "encoder.ln_post")
    output = _value("last_hidden_state", "batch", 1500, "width")
    return graph.model([_value("input_features", "batch", 80, 3000)], x, output)


def _decoder(tensors: dict[str, NDArray[np.float32]], layers: int) -> Any:
    graph = _Graph(tensors)
    embedding = graph.weight("decoder.token_embedding.weight")
    x = graph.add("Gather", embedding, "input_ids")
    zero = graph.constant("zero", np.array([0], np.int64))
    one = graph.constant("one", np.array([1], np.int64))
    two = graph.constant("two", np.array([2], np.int64))
    length = graph.add("Slice", graph.add("Shape", "input_ids"), one, two)
    places = graph.weight("decoder.positional_embedding")
    x = graph.add("Add", x, graph.add("Slice", places, zero, length, zero))
    future = np.triu(np.full((448, 448), -np.inf, np.float32), 1)
    rows = graph.add("Slice", graph.constant("future", future), zero, length, zero)
    mask = graph.add("Slice", rows, zero, length, one)
    for index in range(layers):
        x = graph.block(x, f"decoder.blocks.{index}", "encoder_hidden_states", mask)
    x = graph.norm(x, "decoder.ln")
    logits = graph.add("MatMul", x, graph.add("Transpose", embedding, perm=[1, 0]))
    inputs = [
        _value("input_ids", "batch", "tokens", kind=TensorProto.INT64),
        _value("encoder_hidden_states", "batch", 1500, tensors["decoder.ln.bias"].shape[0]),
    ]
    return graph.model(inputs, logits, _value("logits", "batch", "tokens", "words"))
