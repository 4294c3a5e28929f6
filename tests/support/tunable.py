"""An engine whose settings matter: what is faster, what is wrong, and what kills is known."""

import json
from pathlib import Path

from tests.support import engines, speech

NAME = "tunable"
MODEL = "one"
LOADED = "loaded.json"
"""A file beside its models' folders: the settings that a model was last loaded with."""

_CODE = """
import json, os, time
from rhapsode.domain.transcripts import Segment
from rhapsode.engines.base import Availability, LanguageGuess

TEXT = {text!r}
SECONDS = {{"auto": 1.2, "quick": 0.3, "wrong": 0.01}}

class Model:
    def __init__(self, settings):
        self.settings = settings

    def detect_language(self, samples):
        return LanguageGuess("en", 1.0)

    def transcribe(self, samples, options, canceled):
        time.sleep(SECONDS[self.settings.compute_type] / (self.settings.threads or 1))
        wrong = self.settings.compute_type == "wrong"
        yield Segment(0.0, 5.0, TEXT.replace("country", "county") if wrong else TEXT)

    def close(self):
        pass

class Tunable:
    name = "tunable"
    own_models = ("one",)

    def probe(self):
        return Availability(True, "1.0")

    def choices(self, settings):
        return {choices!r}

    def load(self, model, settings):
        if settings.compute_type == "deadly":
            os.abort()
        model.parent.mkdir(parents=True, exist_ok=True)
        (model.parent / "loaded.json").write_text(json.dumps(settings.compute_type))
        return Model(settings)

ENGINE = Tunable()
"""


def install(folder: Path, choices: dict[str, list[object]], text: str | None = None) -> Path:
    """A folder that, on PYTHONPATH, makes it a plug-in; it always says `text`."""
    said = speech.sample_text("jfk") if text is None else text
    return engines.install_code(folder, NAME, _CODE.format(text=said, choices=choices))


def loaded_as(models_folder: Path) -> str:
    """The number format that it was last loaded with."""
    found: str = json.loads((models_folder / NAME / LOADED).read_text())
    return found
