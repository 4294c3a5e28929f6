"""The engines' libraries alone, called as their own documentation does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rhapsode.engines.base import SAMPLE_RATE, Samples
from rhapsode.engines.failures import only_file

Call = Callable[[Samples], str]


def bare(engine: str, folder: Path, threads: int) -> Call:
    """The library of an engine, its model loaded: English sound to its text."""
    return _BY_ENGINE[engine](folder, threads)


def _faster_whisper(folder: Path, threads: int) -> Call:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)

    def call(samples: Samples) -> str:
        found, _ = model.transcribe(
            samples, language="en", beam_size=5, vad_filter=True, word_timestamps=True
        )
        return " ".join(segment.text.strip() for segment in found)

    return call


def _whisper_cpp(folder: Path, threads: int) -> Call:
    from pywhispercpp.model import Model

    model = Model(str(only_file("whisper.cpp", folder, "*.bin")), n_threads=threads)
    quiet = {"print_progress": False, "print_realtime": False, "language": "en"}
    return lambda samples: " ".join(s.text.strip() for s in model.transcribe(samples, **quiet))


def _openai_whisper(folder: Path, threads: int) -> Call:
    import torch
    import whisper

    torch.set_num_threads(threads)
    model = whisper.load_model(str(only_file("openai-whisper", folder, "*.pt")), device="cpu")
    return lambda samples: str(model.transcribe(samples, language="en", fp16=False)["text"])


def _moonshine(folder: Path, _: int) -> Call:
    from moonshine_voice import ModelArch
    from moonshine_voice.transcriber import Transcriber

    model = Transcriber(folder, ModelArch.TINY)

    def call(samples: Samples) -> str:
        found = model.transcribe_without_streaming(samples.tolist(), SAMPLE_RATE)
        return " ".join(line.text.strip() for line in found.lines)

    return call


def _onnx_asr(folder: Path, threads: int) -> Call:
    import onnx_asr
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    name: Any = None  # its configuration says what it is
    model = onnx_asr.load_model(
        name, folder, sess_options=options, providers=["CPUExecutionProvider"]
    )
    return lambda samples: str(model.recognize(samples, sample_rate=SAMPLE_RATE, language="en"))


_BY_ENGINE: dict[str, Callable[[Path, int], Call]] = {
    "faster-whisper": _faster_whisper,
    "whisper.cpp": _whisper_cpp,
    "openai-whisper": _openai_whisper,
    "moonshine": _moonshine,
    "onnx-asr": _onnx_asr,
}
