"""Every engine of ours does what the shipped suite asks, on real speech with real weights."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from rhapsode.engines import (
    faster_whisper,
    moonshine,
    onnx_asr,
    openai_whisper,
    whisper_cli,
    whisper_cpp,
)
from rhapsode.engines.base import LoadSettings
from rhapsode.testing import Case, EngineConformance
from tests.support import speech
from tests.support.needs import absent


def _needs(part: str, *modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        absent(part, f"not installed: {', '.join(missing)}")


class TestFasterWhisper(EngineConformance):
    @classmethod
    def make_case(cls) -> Case:
        return Case(
            engine=faster_whisper.ENGINE,
            model=speech.model_path("tiny.en"),
            speech=speech.sample("jfk"),
            text=speech.sample_text("jfk"),
            language="en",
            lacks="fr",
        )


class TestWhisperCpp(EngineConformance):
    @classmethod
    def make_case(cls) -> Case:
        _needs("whisper-cpp", "_pywhispercpp")
        return Case(
            engine=whisper_cpp.ENGINE,
            model=speech.engine_model("whisper.cpp", "tiny"),
            speech=speech.sample("jfk"),
            text=speech.sample_text("jfk"),
            language="en",
        )


class TestMoonshine(EngineConformance):
    @classmethod
    def make_case(cls) -> Case:
        _needs("moonshine", "moonshine_voice")
        return Case(
            engine=moonshine.ENGINE,
            model=speech.engine_model("moonshine", "tiny-en"),
            speech=speech.sample("jfk"),
            text=speech.sample_text("jfk"),
            language="en",
            has_words=False,  # the model in the wheel comes without the part that aligns
            lacks="fr",
        )


class TestOnnxAsr(EngineConformance):
    """With Whisper's real weights; what tells times of words is in `test_onnx_asr.py`."""

    @classmethod
    def make_case(cls) -> Case:
        _needs("onnx-asr", "onnx_asr", "onnx", "_pywhispercpp")
        from tests.support import onnx_whisper

        return Case(
            engine=onnx_asr.ENGINE,
            model=onnx_whisper.model_path(),
            speech=speech.sample("jfk"),
            text=speech.sample_text("jfk"),
            language="en",
            has_words=False,
        )


# The library leaves closing the file of its tokenizer to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestOpenAiWhisper(EngineConformance):
    @classmethod
    def make_case(cls) -> Case:
        _needs("openai-whisper", "torch", "whisper")
        return Case(
            engine=openai_whisper.ENGINE,
            model=speech.engine_model("openai-whisper", "tiny.en"),
            speech=speech.sample("jfk"),
            text=speech.sample_text("jfk"),
            language="en",
            lacks="fr",
        )


class _ByProgram(whisper_cpp.WhisperCpp):
    """The engine as it is where the Python binding is not installed."""

    program = os.environ.get("RHAPSODE_WHISPER_CLI", whisper_cli.PROGRAM)

    def load(self, model: Path, settings: LoadSettings) -> whisper_cli.CommandLine:
        return self.by_program(model, settings, self.program)


class TestWhisperCli(EngineConformance):
    @classmethod
    def make_case(cls) -> Case:
        if shutil.which(_ByProgram.program) is None:
            absent(
                "whisper-cli", "the program is not installed (RHAPSODE_WHISPER_CLI names it)"
            )
        return Case(
            engine=_ByProgram(),
            model=speech.engine_model("whisper.cpp", "tiny"),
            speech=speech.sample("jfk"),
            text=speech.sample_text("jfk"),
            language="en",
        )
