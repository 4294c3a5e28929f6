"""The diariser `embedded`: needs no PyTorch, and its weights come from a package registry."""

from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.speakers import SpeakerBounds
from rhapsode.engines.base import Availability, Canceling, LoadSettings, Samples
from rhapsode.engines.diarisers import Diarisation
from rhapsode.engines.voiceprint.checkpoint import read_tensors
from rhapsode.engines.voiceprint.hearing import listen
from rhapsode.engines.voiceprint.listening import Listener
from rhapsode.engines.voiceprint.sounding import VoiceMeter
from rhapsode.engines.voiceprint.weaving import speakers_of, turns_of

NAME = "embedded"
MODEL = "campplus"
VOICE_MODEL = "campplus-zh-en-common"
LISTENER_FILE = "segmentation-3.0.bin"
VOICE_FILE = "campplus_cn_en_common.pt"
MOST_THREADS = 4


class EmbeddedDiariser:
    """The entry point's value."""

    name = NAME
    model: str | None = MODEL

    def probe(self) -> Availability:
        """Looks for ONNX Runtime without importing it."""
        if find_spec("onnxruntime") is None:
            return Availability(False, "not installed: onnxruntime")
        return Availability(True, f"{VOICE_MODEL}, segmentation-3.0")

    def load(self, model: Path | None, settings: LoadSettings) -> "LoadedDiariser":
        """Builds both networks from the weights in that folder; they run on the CPU."""
        if model is None:
            raise Unavailable("model_missing", "The embedded diariser's weights are missing.")
        return LoadedDiariser(model, min(settings.threads or MOST_THREADS, MOST_THREADS))


DIARISER = EmbeddedDiariser()


class LoadedDiariser:
    """A `Diariser` of two networks in memory."""

    def __init__(self, model: Path, threads: int) -> None:
        listener, voice = read_tensors(model / LISTENER_FILE), read_tensors(model / VOICE_FILE)
        try:
            self._listener, self._meter = (
                Listener(listener, threads),
                VoiceMeter(voice, threads),
            )
        except (KeyError, ValueError, RuntimeError) as error:
            raise Unavailable(
                "model_unloadable",
                f"The weights in {model} are not those of the embedded diariser: {error}",
                hint="`rhapsode models verify` checks the model's files.",
            ) from error

    def diarise(
        self, blocks: Iterable[Samples], bounds: SpeakerBounds, canceled: Canceling
    ) -> Diarisation:
        """See `Diariser`."""
        hearing = listen(blocks, self._listener, self._meter, canceled)
        sounds = speakers_of(hearing, bounds, canceled)
        turns = turns_of(hearing, sounds, canceled)
        order = list(dict.fromkeys(turn.speaker for turn in turns))
        return Diarisation(
            turns=tuple(replace(turn, speaker=order.index(turn.speaker)) for turn in turns),
            voices=tuple(tuple(map(float, sounds[index].round(5))) for index in order),
            voice_model=VOICE_MODEL,
        )

    def close(self) -> None:
        """See `Diariser`."""
        del self._listener, self._meter
