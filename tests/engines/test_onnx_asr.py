"""What the Whisper of the conformance suite does not show: times of words, names, formats.

No registry carries weights of NVIDIA's models. The model here is one in form: the library's
own code for them turns what it says into text and times, and what it says does not depend on
the sound.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.engines import audio
from rhapsode.engines.base import LoadSettings, TranscribeOptions
from rhapsode.engines.onnx_asr import ENGINE, SPOKEN, UNKNOWN, LoadedModel
from tests.support import speech
from tests.support.needs import absent

pytest.importorskip("onnx_asr")
onnx = pytest.importorskip("onnx")

CPU = LoadSettings(device="cpu", threads=1)
TOKENS = ["▁good", "▁mor", "ning", ".", "<blk>"]
SAID = {2: 0, 6: 1, 8: 2, 9: 3}
"""Which token is said at which frame of 80 ms."""


def _never() -> bool:
    return False


def _graph() -> Any:
    """As many frames of a fixed table as the features have, eight at a time."""
    from onnx import TensorProto, helper, numpy_helper

    table = np.full((1, 1000, len(TOKENS)), -10.0, np.float32)
    table[0, :, TOKENS.index("<blk>")] = -0.01
    for frame, token in SAID.items():
        table[0, frame] = [-0.1 if index == token else -9.0 for index in range(len(TOKENS))]
    constants = {
        "table": table,
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "three": np.array([3], np.int64),
        "seven": np.array([7], np.int64),
        "eight": np.array([8], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["audio_signal"], ["shape"]),
        helper.make_node("Slice", ["shape", "two", "three"], ["features"]),
        helper.make_node("Add", ["features", "seven"], ["more"]),
        helper.make_node("Div", ["more", "eight"], ["frames"]),
        helper.make_node("Slice", ["table", "zero", "frames", "one"], ["logprobs"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [
        value("audio_signal", TensorProto.FLOAT, ["batch", 80, "time"]),
        value("length", TensorProto.INT64, ["batch"]),
    ]
    outputs = [value("logprobs", TensorProto.FLOAT, ["batch", "frames", len(TOKENS)])]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "fixed", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _model(folder: Path, suffix: str = "") -> Path:
    folder.mkdir()
    onnx.save(_graph(), folder / f"model{suffix}.onnx")
    lines = [f"{token} {index}\n" for index, token in enumerate(TOKENS)]
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    config = {"model_type": "nemo-conformer-ctc", "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_times_of_tokens_become_times_of_words(tmp_path: Path) -> None:
    model = ENGINE.load(_model(tmp_path / "fixed"), CPU)
    samples = np.concatenate(list(audio.decode(speech.sample("jfk"))))
    (segment,) = model.transcribe(samples, TranscribeOptions("en"), _never)
    assert segment.text == "good morning."
    good, morning = segment.words
    assert (good.text, morning.text) == ("good", "morning.")
    starts, ends = [good.start, morning.start], [good.end, morning.end]
    silence = round(starts[0] - 2 * 0.08, 3)  # left out before the first word
    assert [round(at - silence, 2) for at in starts] == [0.16, 0.48]
    assert [round(at - silence, 2) for at in ends] == [0.48, 1.22]
    assert good.probability == round(float(np.exp(-0.1)), 4)
    assert (segment.start, segment.end) == (good.start, morning.end)


def test_words_are_left_out_where_nobody_wants_them(tmp_path: Path) -> None:
    model = ENGINE.load(_model(tmp_path / "fixed"), CPU)
    samples = np.concatenate(list(audio.decode(speech.sample("jfk"))))
    options = TranscribeOptions("en", word_times=False)
    (segment,) = model.transcribe(samples, options, _never)
    assert (segment.text, segment.words) == ("good morning.", ())


def test_a_model_of_unknown_languages_takes_any_and_tells_none(tmp_path: Path) -> None:
    model = ENGINE.load(_model(tmp_path / "fixed"), CPU)
    samples = np.concatenate(list(audio.decode(speech.sample("jfk"))))
    guess = model.detect_language(samples)
    assert (guess.language, guess.probability, model.languages) == (UNKNOWN, 0.0, ())
    assert list(model.transcribe(samples, TranscribeOptions(UNKNOWN), _never))


@pytest.mark.parametrize("wanted", ["auto", "int8"])
def test_quantised_files_are_found(tmp_path: Path, wanted: str) -> None:
    folder = _model(tmp_path / "fixed", ".int8")
    settings = LoadSettings(device="cpu", compute_type=wanted)
    assert isinstance(ENGINE.load(folder, settings), LoadedModel)


def test_the_librarys_names_know_their_languages(tmp_path: Path) -> None:
    """By the folder's name, with the number format behind it or without."""
    for name in ("nemo-parakeet-ctc-0.6b", "nemo-parakeet-ctc-0.6b-int8"):
        model = ENGINE.load(_model(tmp_path / name), CPU)
        assert model.languages == SPOKEN["nemo-parakeet-ctc-0.6b"] == ("en",)


def test_a_model_of_another_engine(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as failure:
        ENGINE.load(speech.engine_model("whisper.cpp", "tiny"), CPU)
    assert failure.value.code == "model_unloadable"
    assert failure.value.hint is not None
    assert "`rhapsode models verify onnx-asr/tiny`" in failure.value.hint


def test_a_graphics_card_that_is_not_there(tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        absent("no-cuda", "this machine's onnxruntime has CUDA")
    with pytest.raises(Unavailable, match="onnxruntime-gpu"):
        ENGINE.load(_model(tmp_path / "fixed"), LoadSettings(device="cuda"))
