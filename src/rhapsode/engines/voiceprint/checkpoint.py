"""Reads the tensors of a PyTorch checkpoint without PyTorch, and runs nothing of it.

Such a file is a ZIP of raw numbers beside a pickle that says how they make tensors. A pickle
can name any function to be called; here only tensors and plain containers come to life, and
whatever else it names becomes an inert object.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhapsode.domain.errors import Unavailable

Tensors = dict[str, NDArray[np.float32]]
"""Tensors by the name of the layer that they belong to."""

_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8", "IntStorage": "<i4"}
_STATE = "state_dict"


def read_tensors(path: Path) -> Tensors:
    """The tensors of the checkpoint; Unavailable (`model_unloadable`) where it holds none."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = _unpickled(archive)
        tensors = found.get(_STATE, found)
        return {
            name: np.asarray(tensor, np.float32)
            for name, tensor in tensors.items()
            if isinstance(tensor, np.ndarray)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise _unloadable(path, error) from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, IndexError) as error:
        raise _unloadable(path, error) from error


def _unloadable(path: Path, error: Exception) -> Unavailable:
    return Unavailable(
        "model_unloadable",
        f"The weights in {path} cannot be read: {error}",
        hint="`rhapsode models verify` checks the model's files.",
    )


def _unpickled(archive: zipfile.ZipFile) -> Any:
    index = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    with archive.open(index) as file:
        return _Reader(file, archive, index.removesuffix("data.pkl")).load()  # type: ignore[arg-type]


class _Inert:
    """Stands for whatever a pickle names and nobody needs; it does nothing with anything."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """Only what builds tensors; never an import."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        return _Inert

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """The numbers of one storage: ("storage", type, key, device, count)."""
        _, dtype, key, _, count = pid
        content = self._archive.read(f"{self._folder}data/{key}")
        return np.frombuffer(content, dtype, count=count)


def _tensor(
    storage: NDArray[Any],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: Any,
) -> NDArray[Any]:
    """A view of a storage, copied; strides count elements, as PyTorch's do."""
    reach = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if not 0 <= offset <= reach < len(storage) or any(step < 0 for step in strides):
        raise ValueError("a tensor reaches beyond its numbers")
    steps = tuple(step * storage.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()
