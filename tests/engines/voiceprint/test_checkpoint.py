import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.engines.voiceprint.checkpoint import read_tensors
from tests.support import conversations, speech


class _Storage:
    """What a checkpoint writes in place of numbers: a reference to a file of the archive."""

    def __init__(self, key: str, count: int) -> None:
        self.pid = ("storage", _Global("torch", "FloatStorage"), key, "cpu", count)


class _Global:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Call:
    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self.target, self.arguments = _Global(module, name), arguments


class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes names of things that are not installed here."""

    def persistent_id(self, item: object) -> object:
        return item.pid if isinstance(item, _Storage) else None

    def save(self, item: object, save_persistent_id: bool = True) -> None:
        if isinstance(item, _Global):
            self.write(pickle.GLOBAL + f"{item.module}\n{item.name}\n".encode())
        elif isinstance(item, _Call):
            self.save(item.target)
            self.save(tuple(item.arguments))
            self.write(pickle.REDUCE)
        else:
            super().save(item, save_persistent_id)


def _checkpoint(path: Path, content: object, numbers: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as file:
            _Pickler(file, protocol=2).dump(content)
        archive.writestr("archive/data/0", numbers)
    return path


def _tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Call:
    return _Call(
        "torch._utils",
        "_rebuild_tensor_v2",
        _Storage("0", 6),
        offset,
        shape,
        strides,
        False,
        (),
    )


NUMBERS = np.arange(6, dtype="<f4").tobytes()


def test_tensors_are_read_as_they_lie_in_the_numbers(tmp_path: Path) -> None:
    content = {"a": _tensor(0, (2, 3), (3, 1)), "b": _tensor(1, (2,), (3,)), "other": 5}
    found = read_tensors(_checkpoint(tmp_path / "a.pt", content, NUMBERS))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "a": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "b": [1.0, 4.0],
    }


def test_the_state_of_a_larger_checkpoint_is_found(tmp_path: Path) -> None:
    content = {"epoch": 3, "state_dict": {"a": _tensor(0, (6,), (1,))}}
    assert list(read_tensors(_checkpoint(tmp_path / "a.pt", content, NUMBERS))) == ["a"]


def test_what_a_pickle_names_is_never_called(tmp_path: Path) -> None:
    target = tmp_path / "made"
    content = {"a": _tensor(0, (6,), (1,)), "evil": _Call("os", "mkdir", str(target))}
    assert list(read_tensors(_checkpoint(tmp_path / "a.pt", content, NUMBERS))) == ["a"]
    assert not target.exists()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (7,), (1,)), (3, (2, 2), (3, 1)), (-1, (2,), (1,)), (5, (2,), (-1,))],
)
def test_a_tensor_beyond_its_numbers_is_refused(
    tmp_path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    path = _checkpoint(tmp_path / "a.pt", {"a": _tensor(offset, shape, strides)}, NUMBERS)
    with pytest.raises(Unavailable, match="reaches beyond"):
        read_tensors(path)


def test_the_real_weights_are_read() -> None:
    conversations.diariser()
    folder = speech.models_folder() / "embedded" / "campplus"
    listener = read_tensors(folder / "segmentation-3.0.bin")
    voice = read_tensors(folder / "campplus_cn_en_common.pt")
    assert listener["classifier.weight"].shape == (7, 128)
    assert voice["xvector.dense.linear.weight"].shape == (192, 1024, 1)


def test_a_cut_off_file_is_named(tmp_path: Path) -> None:
    conversations.diariser()
    whole = speech.models_folder() / "embedded" / "campplus" / "segmentation-3.0.bin"
    path = tmp_path / "half.bin"
    path.write_bytes(whole.read_bytes()[:100_000])
    with pytest.raises(Unavailable, match=r"half\.bin cannot be read"):
        read_tensors(path)
