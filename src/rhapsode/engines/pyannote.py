"""The diariser `pyannote`: pyannote.audio's pipeline, for those who have it (PyTorch).

Its weights are handed out by the model hub to people who accept their conditions. They are
found in the library's own cache, fetched with the hub's own token (HF_TOKEN), or taken from a
folder with the pipeline's `config.yaml`, for machines without a network.

The library wants the whole recording as one array. It is written to a file that the array
maps, so that the system can take the memory back.
"""

import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.speakers import SpeakerBounds, Turn
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Availability,
    Canceled,
    Canceling,
    LoadSettings,
    Samples,
)
from rhapsode.engines.diarisers import Diarisation

NAME = "pyannote"
PIPELINE = "pyannote/speaker-diarization-community-1"
_OLDEST = 4


class Pyannote:
    """The entry point's value."""

    name = NAME
    model: str | None = None

    def probe(self) -> Availability:
        """Looks for the library without importing it: that takes seconds and loads PyTorch."""
        missing = [name for name in ("torch", "pyannote", "pyannote.audio") if not _has(name)]
        if missing:
            return Availability(False, f"not installed: {', '.join(missing)}")
        try:
            found = version("pyannote.audio")
        except PackageNotFoundError:
            return Availability(False, "not installed: pyannote.audio")
        if int(found.partition(".")[0]) < _OLDEST:
            return Availability(False, f"pyannote.audio {found} is too old: 4.0 is needed")
        return Availability(True, found)

    def load(self, model: Path | None, settings: LoadSettings) -> "LoadedPyannote":
        """Loads the pipeline of that folder, or the hub's."""
        source = model if model is not None and (model / "config.yaml").is_file() else PIPELINE
        try:
            pipeline = _pipeline(source, settings.device)
        except Exception as error:
            raise Unavailable(
                "model_unloadable",
                f"pyannote's pipeline cannot be loaded: {' '.join(str(error).split())[:300]}",
                hint=f"Accept the conditions of {PIPELINE} on the model hub and set HF_TOKEN, "
                "or put the pipeline with its config.yaml into the models' folder `pyannote`.",
            ) from error
        return LoadedPyannote(pipeline)


DIARISER = Pyannote()


def _pipeline(source: Path | str, device: str) -> Any:
    import torch
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(source)
    if pipeline is None:
        raise OSError(f"{source} cannot be had: its conditions must be accepted")
    return pipeline.to(torch.device(_device(device, torch)))


def _has(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _device(wanted: str, torch: Any) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


class LoadedPyannote:
    """A `Diariser` over one pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def diarise(
        self, blocks: Iterable[Samples], bounds: SpeakerBounds, canceled: Canceling
    ) -> Diarisation:
        """See `Diariser`; it can be called off between two batches of the networks."""

        def hook(*_: Any, **__: Any) -> None:
            if canceled():
                raise Canceled

        with tempfile.TemporaryFile() as file:
            waveform = _waveform(blocks, file, hook)
            if waveform is None:
                return Diarisation()
            try:
                output = self._pipeline(
                    {"waveform": waveform, "sample_rate": SAMPLE_RATE},
                    hook=hook,
                    **numbers(bounds),
                )
            except Canceled:
                raise
            except Exception as error:
                raise Unavailable(
                    "engine_failed", f"pyannote failed: {' '.join(str(error).split())[:300]}"
                ) from error
        return diarisation_of(output)

    def close(self) -> None:
        """See `Diariser`."""
        del self._pipeline


def numbers(bounds: SpeakerBounds) -> dict[str, int]:
    """The bounds as the pipeline's arguments."""
    if bounds.most == bounds.least:
        return {"num_speakers": bounds.least}
    found = {} if bounds.least <= 1 else {"min_speakers": bounds.least}
    return found if bounds.most is None else {**found, "max_speakers": bounds.most}


def _waveform(blocks: Iterable[Samples], file: IO[bytes], check: Any) -> Any:
    """(1, samples), as a tensor over the file; None where there is no sound."""
    import torch

    count = 0
    for block in blocks:
        check()
        file.write(block.astype(np.float32, copy=False).tobytes())
        count += len(block)
    if not count:
        return None
    file.flush()
    mapped = np.memmap(file, np.float32, mode="r+", shape=(1, count))
    return torch.from_numpy(mapped)


def diarisation_of(output: Any) -> Diarisation:
    """What the pipeline found, in our terms; speakers are numbered as they appear."""
    tracks = [
        (segment.start, segment.end, speaker)
        for segment, _, speaker in output.speaker_diarization.itertracks(yield_label=True)
    ]
    tracks.sort(key=lambda track: track[:2])
    order = list(dict.fromkeys(speaker for *_, speaker in tracks))
    turns = tuple(
        Turn(round(max(0.0, float(start)), 3), round(float(end), 3), order.index(speaker))
        for start, end, speaker in tracks
    )
    vectors = _vectors(output, order)
    return Diarisation(turns, vectors, voice_model=PIPELINE if vectors else "")


def _vectors(output: Any, order: list[str]) -> tuple[tuple[float, ...], ...]:
    """The pipeline's vectors, which it sorts by label; none where one of them is missing."""
    embeddings = output.speaker_embeddings
    if embeddings is None:
        return ()
    rows = dict(zip(output.speaker_diarization.labels(), np.asarray(embeddings), strict=False))
    if any(name not in rows or not np.isfinite(rows[name]).all() for name in order):
        return ()
    scaled = (rows[name] / max(float(np.linalg.norm(rows[name])), 1e-9) for name in order)
    return tuple(tuple(round(float(value), 5) for value in row) for row in scaled)
