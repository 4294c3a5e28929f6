"""`rhapsode calibrate`: how the models on this machine load fastest."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhapsode.cli.exits import ExitCode, code_of, combined
from rhapsode.cli.options import Config, Json
from rhapsode.cli.output import emit_json, emit_table, error_line, note
from rhapsode.domain.errors import DomainError

if TYPE_CHECKING:
    from rhapsode.catalogue.store import ModelStore
    from rhapsode.engines.base import LoadSettings
    from rhapsode.runner.calibrating import Tried


def calibrate(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Models, as in `base` or `whisper.cpp/tiny`; without one, all installed ones.",
        ),
    ] = None,
    *,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Where models are kept.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda` or `cuda:N`.")] = "auto",
    json: Json = False,
    config: Config = None,
) -> None:
    """Measure how models load fastest on this machine, and have runners load them so.

    Takes a minute or so for each model. The runner beside the server uses what was found from
    its next start on, as does every runner on this machine that uses the same models folder,
    wherever its own settings say `auto`.
    """
    from rhapsode.cli.models import open_store
    from rhapsode.engines.base import LoadSettings

    raise typer.Exit(
        calibrated(
            open_store(config, folder), names or (), LoadSettings(device=device), as_json=json
        )
    )


def calibrated(
    store: "ModelStore",
    names: Sequence[str],
    asked: "LoadSettings",
    *,
    as_json: bool,
    pull: bool = True,
) -> ExitCode:
    """Calibrates, stores and prints; a model that fails does not stop the others."""
    from rhapsode.runner import subjects
    from rhapsode.runner.calibrating import calibrate as search
    from rhapsode.runner.calibrations import Calibrations

    chosen = subjects.subjects(store, names)
    sample = subjects.sample(store, pull=pull)
    kept = Calibrations(store.folder)
    codes, made = [], []
    for number, subject in enumerate(chosen, start=1):
        name = f"{subject.engine}/{subject.model}"
        note(f"{name} ({number} of {len(chosen)})")
        try:
            found = search(subject, asked, sample, _told)
            kept.keep(found)
        except DomainError as error:
            error_line(error.message, error.hint)
            codes.append(code_of(error))
            made.append({"name": name, "error": {"code": error.code, "message": str(error)}})
        else:
            codes.append(ExitCode.OK)
            made.append({"name": name, **asdict(found)})
    _show(made, kept.path, as_json=as_json)
    return combined(codes)


def _told(tried: "Tried") -> None:
    """One line of progress."""
    outcome = tried.remark or f"{tried.speed:.1f} × real time"
    note(f"  {in_words(tried.settings)}: {outcome}")


def in_words(settings: "LoadSettings") -> str:
    """As in `2 threads, int8`."""
    parts = [
        settings.device if settings.device != "auto" else "",
        settings.compute_type if settings.compute_type != "auto" else "",
        f"{settings.threads} thread{'s' * (settings.threads != 1)}" if settings.threads else "",
    ]
    return ", ".join(filter(None, parts)) or "the engine's own choice"


def _show(made: list[dict[str, Any]], path: Path, *, as_json: bool) -> None:
    if as_json:
        emit_json({"path": path, "models": made})
        return
    emit_table(
        ("MODEL", "FASTEST WITH", "× REAL TIME", "BY ITSELF", "WORD ERRORS"),
        [_row(item) for item in made if "error" not in item],
    )
    note(f"Kept in {path}; runners use it from their next start on.")


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    return (
        item["name"],
        in_words(_settings(item)),
        f"{item['speed']:.1f}",
        f"{item['own_speed']:.1f}",
        f"{100 * item['word_errors']:.1f} % (by itself {100 * item['own_word_errors']:.1f} %)",
    )


def _settings(item: dict[str, Any]) -> "LoadSettings":
    from rhapsode.engines.base import LoadSettings

    return LoadSettings(**item["settings"])
