"""Calibrations: how each model loads fastest on this machine, kept beside the models.

One file for each kind of machine, `<models>/.calibration/<key>.json`, so that machines which
share the folder do not overwrite each other's.
"""

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from rhapsode.domain.errors import Unavailable
from rhapsode.engines.base import LoadSettings
from rhapsode.runner.config import ChildSettings
from rhapsode.runner.machine import Machine, this_machine

FOLDER = ".calibration"
FORMAT = 1
"""Raised where engines change so much that what was measured before says nothing more."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The fastest right settings of a model, and what was measured.

    Speeds are audio seconds per second: of `settings`, and of the engine's own choice.
    `word_errors` are the rates of both, of the sample's words.
    """

    engine: str
    engine_version: str
    model: str
    settings: LoadSettings
    speed: float
    own_speed: float
    word_errors: float
    own_word_errors: float
    measured_at: str

    @property
    def name(self) -> str:
        """`engine/model`."""
        return f"{self.engine}/{self.model}"

    def fits(self, asked: LoadSettings) -> bool:
        """Whether it is about what was asked for: whatever is fixed must be what it found."""
        found = self.settings
        return (
            asked.device in {"auto", found.device}
            and asked.compute_type in {"auto", found.compute_type}
            and asked.threads in {None, found.threads}
        )


@dataclass(frozen=True, slots=True)
class _File:
    format: int
    machine: Machine
    calibrations: tuple[Calibration, ...]


_ADAPTER = TypeAdapter(_File)


class Calibrations:
    """Those of one machine, this one without another being named."""

    def __init__(self, models_folder: Path, machine: Machine | None = None) -> None:
        self._machine = machine or this_machine()
        self.path = models_folder / FOLDER / f"{self._machine.key}.json"
        self._found = {found.name: found for found in self._read()}

    def settings(
        self, engine: str, version: str, model: str, asked: LoadSettings
    ) -> LoadSettings:
        """How to load a model: as it is fastest where that is known, else as was asked."""
        found = self.find(engine, version, model, asked)
        return asked if found is None else found.settings

    def find(
        self, engine: str, version: str, model: str, asked: LoadSettings
    ) -> Calibration | None:
        """What was measured with this version of the engine and within these settings."""
        found = self._found.get(f"{engine}/{model}")
        if found is None or found.engine_version != version or not found.fits(asked):
            return None
        return found

    def keep(self, made: Calibration) -> None:
        """Store it; Unavailable (`calibration_not_kept`) where the folder takes no file."""
        # Another process may have stored one meanwhile.
        self._found = {found.name: found for found in self._read()} | {made.name: made}
        try:
            self._write(self._found.values())
        except OSError as error:
            raise Unavailable(
                "calibration_not_kept",
                f"The calibration cannot be stored in {self.path}: {error.strerror}.",
                hint="Give a models folder that can be written to.",
            ) from error

    def _read(self) -> Iterable[Calibration]:
        try:
            kept: _File = _ADAPTER.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            log.warning("calibration not read", path=str(self.path), error=str(error)[:200])
            return ()
        foreign = kept.machine != self._machine or kept.format != FORMAT
        return () if foreign else kept.calibrations

    def _write(self, calibrations: Iterable[Calibration]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = asdict(_File(FORMAT, self._machine, tuple(calibrations)))
        with tempfile.NamedTemporaryFile(
            "w", dir=self.path.parent, suffix=".part", delete=False, encoding="utf-8"
        ) as file:
            json.dump(document, file, indent=1)
        os.chmod(file.name, 0o644)  # noqa: PTH101 (machines that share the folder may differ in users)
        Path(file.name).replace(self.path)


def asked_for(settings: ChildSettings) -> LoadSettings:
    """How models are to be loaded, as far as the runner was told."""
    return LoadSettings(settings.device, settings.compute_type, settings.threads)
