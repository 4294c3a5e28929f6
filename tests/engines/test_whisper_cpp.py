"""What the conformance suite does not ask of whisper.cpp."""

import struct
from pathlib import Path

import numpy as np
import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.languages import WHISPER_LANGUAGES
from rhapsode.engines import audio, ggml, whisper_cpp
from rhapsode.engines.base import LoadSettings, TranscribeOptions
from rhapsode.engines.whisper_cpp import ENGINE, LoadedModel
from tests.support import speech

pytest.importorskip("_pywhispercpp")

CPU = LoadSettings(device="cpu", threads=2)


@pytest.fixture(scope="module")
def weights() -> Path:
    return speech.engine_model("whisper.cpp", "tiny") / "ggml-tiny.bin"


def test_the_header_tells_what_the_model_is(weights: Path) -> None:
    header = ggml.check(weights)
    assert (header.vocabulary, header.audio_layers, header.text_layers) == (51_865, 4, 4)
    assert (header.multilingual, header.cantonese, header.tensors) == (True, False, 167)


@pytest.mark.parametrize("kept", [4, 40, 2_000, 100_000, 70_000_000])
def test_a_file_that_is_cut_short(weights: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.bin"
    with weights.open("rb") as file:
        path.write_bytes(file.read(kept))
    with pytest.raises(ggml.Broken, match=r"cut\.bin"):
        ggml.check(path)


def test_a_tensor_that_is_missing(weights: Path, tmp_path: Path) -> None:
    """The file ends between two tensors: nothing in it is wrong but its length."""
    content = weights.read_bytes()
    name = b"decoder.ln.bias"
    start = content.rindex(name) - len(struct.pack("<4i", 1, len(name), 0, 384))
    (tmp_path / "less.bin").write_bytes(content[:start])
    with pytest.raises(ggml.Broken, match=r"less\.bin is cut short: \d+ of 167 tensors"):
        ggml.check(tmp_path / "less.bin")


def test_lengths_that_cannot_be(weights: Path, tmp_path: Path) -> None:
    content = bytearray(weights.read_bytes()[:200_000])
    content[48:56] = struct.pack("<2i", -1, 2**30)
    (tmp_path / "odd.bin").write_bytes(content)
    with pytest.raises(ggml.Broken, match=r"odd\.bin is damaged"):
        ggml.check(tmp_path / "odd.bin")


def test_a_model_of_another_engine() -> None:
    with pytest.raises(Unavailable) as failure:
        ENGINE.load(speech.model_path("tiny.en"), CPU)
    assert failure.value.code == "model_unloadable"
    assert "model.bin is no ggml model" in failure.value.message
    assert failure.value.hint == (
        "`rhapsode models verify whisper.cpp/tiny.en` names damaged files, and "
        "`rhapsode models pull whisper.cpp/tiny.en` gets them again."
    )


def test_two_models_in_one_folder(weights: Path, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).symlink_to(weights)
    with pytest.raises(Unavailable, match=r"one file \*\.bin, and holds a\.bin, b\.bin"):
        ENGINE.load(tmp_path, CPU)


def test_a_build_without_cuda_does_not_pretend() -> None:
    with pytest.raises(Unavailable, match="without CUDA"):
        ENGINE.load(speech.engine_model("whisper.cpp", "tiny"), LoadSettings(device="cuda"))


def test_without_the_binding_the_program_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper_cpp, "find_spec", lambda _: None)
    monkeypatch.setattr(whisper_cpp.shutil, "which", lambda _: "/usr/bin/whisper-cli")
    assert ENGINE.probe().detail == "by /usr/bin/whisper-cli"
    monkeypatch.setattr(whisper_cpp.shutil, "which", lambda _: None)
    found = ENGINE.probe()
    assert (found.available, found.install) == (False, "pip install 'rhapsode[whisper-cpp]'")


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    loaded = ENGINE.load(speech.engine_model("whisper.cpp", "tiny"), CPU)
    assert isinstance(loaded, LoadedModel)
    return loaded


def test_the_languages_are_the_catalogues(model: LoadedModel) -> None:
    assert model.languages == WHISPER_LANGUAGES


def test_a_failing_library_is_told(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    import _pywhispercpp

    monkeypatch.setattr(_pywhispercpp, "whisper_full", lambda *_: -8)
    with pytest.raises(Unavailable, match=r"whisper\.cpp gave up: the library answers -8"):
        list(
            model.transcribe(
                np.ones(16_000, np.float32), TranscribeOptions("en"), lambda: False
            )
        )


def test_a_prompt_is_followed(model: LoadedModel) -> None:
    """It reaches the model, which then writes without capitals and punctuation, as it does."""
    samples = np.concatenate(list(audio.decode(speech.sample("jfk"))))
    prompt = "hello. how are you. i am fine and you. thank you very much"
    texts = [
        " ".join(s.text for s in model.transcribe(samples, wanted, lambda: False))
        for wanted in (TranscribeOptions("en"), TranscribeOptions("en", prompt=prompt))
    ]
    assert texts[0].startswith("And so my fellow Americans")
    assert texts[1].startswith("and so my fellow ")
