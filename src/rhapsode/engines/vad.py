"""Silero VAD: how likely each 32 ms of a stream is speech.

The network and its weights come with faster-whisper; here it runs over a stream, its state
carried from block to block, so that a recording's length costs no memory.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhapsode.domain.errors import Unavailable
from rhapsode.engines.base import SAMPLE_RATE, Samples

WINDOW = 512
"""Samples that each probability is about."""

WINDOW_SECONDS = WINDOW / SAMPLE_RATE

_CONTEXT = 64
_PACKAGE = "faster_whisper"
_WEIGHTS = "assets/silero_vad_v6.onnx"


class SpeechMeter:
    """Measures one stream, block by block."""

    def __init__(self) -> None:
        self._session = _session()
        self._state = [np.zeros((1, 1, 128), np.float32) for _ in range(2)]
        self._context: Samples = np.zeros(_CONTEXT, np.float32)

    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        """One probability for each WINDOW of these samples; a last short one is padded."""
        padded = np.pad(samples, (0, -len(samples) % WINDOW))
        if not len(padded):
            return np.zeros(0, np.float32)
        windows = padded.reshape(-1, WINDOW)
        before = np.concatenate([self._context[None], windows[:-1, -_CONTEXT:]])
        self._context = windows[-1, -_CONTEXT:].copy()
        inputs = {"input": np.concatenate([before, windows], axis=1)}
        inputs |= dict(zip("hc", self._state, strict=True))
        output, *self._state = self._session.run(None, inputs)
        return np.asarray(output, np.float32).reshape(-1)


def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        str(_weights()), providers=["CPUExecutionProvider"], sess_options=options
    )


def _weights() -> Path:
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / _WEIGHTS
        if path.is_file():
            return path
    raise Unavailable(
        "vad_missing",
        "The speech detector's weights (Silero VAD v6) are not installed.",
        hint="They come with the package faster-whisper.",
    )
