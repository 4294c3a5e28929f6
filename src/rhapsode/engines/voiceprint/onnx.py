"""Writes a network as an ONNX model, so that ONNX Runtime runs weights of any origin.

ONNX is a Protocol Buffers format; the few messages that a network needs are written by hand
here (field numbers as in onnx.proto), which spares a dependency of many megabytes.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Attribute = int | float | str | Sequence[int]

_IR_VERSION = 8
_OPSET = 17
_FLOAT, _INT64 = 1, 7
_KIND_FLOAT, _KIND_INT, _KIND_STRING, _KIND_INTS = 1, 2, 3, 7


class Graph:
    """A network in the making: each call adds a node and answers the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._inputs: list[bytes] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """An input of floats; a dimension given by name may vary."""
        self._inputs.append(_value(name, shape))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        """Weights, or whole numbers such as a shape."""
        name = self._name()
        self._constants.append(_tensor(name, value))
        return name

    def add(
        self, operator: str, *inputs: str, outputs: int = 1, **attributes: Attribute
    ) -> str:
        """One operator; of several outputs the first is answered."""
        names = [self._name() for _ in range(outputs)]
        parts = [_text(1, name) for name in inputs]
        parts += [_text(2, name) for name in names]
        parts.append(_text(4, operator))
        parts += [_block(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return names[0]

    def finished(self, value: str, name: str, shape: Sequence[int | str]) -> bytes:
        """The model whose only output is `value`, under this name."""
        self._nodes.append(_text(1, value) + _text(2, name) + _text(4, "Identity"))
        graph = [_block(1, node) for node in self._nodes]
        graph.append(_text(2, "network"))
        graph += [_block(5, constant) for constant in self._constants]
        graph += [_block(11, entry) for entry in self._inputs]
        graph.append(_block(12, _value(name, shape)))
        opset = _text(1, "") + _number(2, _OPSET)
        return _number(1, _IR_VERSION) + _block(7, b"".join(graph)) + _block(8, opset)

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def session(model: bytes, threads: int) -> Any:
    """An inference session of ONNX Runtime over that model, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model, providers=["CPUExecutionProvider"], sess_options=options
    )


def _tensor(name: str, value: NDArray[Any]) -> bytes:
    whole = np.issubdtype(value.dtype, np.integer)
    stored = np.ascontiguousarray(value, "<i8" if whole else "<f4")
    dims = b"".join(_number(1, size) for size in value.shape)
    kind = _number(2, _INT64 if whole else _FLOAT)
    return dims + kind + _text(8, name) + _block(9, stored.tobytes())


def _attribute(name: str, value: Attribute) -> bytes:
    head = _text(1, name)
    if isinstance(value, float):
        return head + _key(2, 5) + struct.pack("<f", value) + _number(20, _KIND_FLOAT)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, _KIND_INT)
    if isinstance(value, str):
        return head + _text(4, value) + _number(20, _KIND_STRING)
    return head + b"".join(_number(8, item) for item in value) + _number(20, _KIND_INTS)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(
        _block(1, _text(2, size) if isinstance(size, str) else _number(1, size))
        for size in shape
    )
    tensor = _number(1, _FLOAT) + _block(2, sizes)
    return _text(1, name) + _block(2, _block(1, tensor))


def _text(field: int, text: str) -> bytes:
    return _block(field, text.encode())


def _block(field: int, content: bytes) -> bytes:
    return _key(field, 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
