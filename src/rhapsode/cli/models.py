"""`rhapsode models`: the catalogue, and what of it is on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from rhapsode.catalogue.diarisers import DIARISER_MODELS
from rhapsode.catalogue.entries import MODELS, SAMPLES
from rhapsode.catalogue.kinds import Entry, Model
from rhapsode.catalogue.store import ModelStore
from rhapsode.cli.exits import ExitCode, code_of, combined
from rhapsode.cli.options import Config, Json
from rhapsode.cli.output import emit_json, emit_table, emit_text, error_line
from rhapsode.cli.progress import bars
from rhapsode.domain.errors import DomainError, Invalid, NotFound
from rhapsode.domain.jobs import DEFAULT_ENGINE

ENTRIES: tuple[Entry, ...] = (*MODELS, *DIARISER_MODELS, *SAMPLES)

app = typer.Typer(no_args_is_help=True, help="Models and sample recordings on this machine.")

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where models are kept.", show_default=False),
]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="Models, as in `base` or `faster-whisper/base`, or samples, as in `samples/jfk`.",
    ),
]


@app.command("list")
def list_models(*, json: Json = False, folder: Folder = None, config: Config = None) -> None:
    """List the models and samples that there are, and which of them are installed."""
    store = open_store(config, folder)
    rows = [_row(store, entry) for entry in ENTRIES]
    if json:
        emit_json(rows)
        return
    emit_table(
        ("NAME", "SIZE", "HERE", "LANGUAGES", "WHAT"),
        [
            (
                row["name"],
                _megabytes(row["size_bytes"]),
                row["presence"],
                _languages(row["languages"]),
                row["description"],
            )
            for row in rows
        ],
    )


@app.command()
def pull(
    names: Names, *, json: Json = False, folder: Folder = None, config: Config = None
) -> None:
    """Download models or samples, check them, and install them; goes on where it stopped."""
    store = open_store(config, folder)
    _each(names, lambda entry: {"path": str(pull_with_bar(store, entry))}, as_json=json)


@app.command()
def verify(
    names: Names, *, json: Json = False, folder: Folder = None, config: Config = None
) -> None:
    """Read installed models again and compare every file with its digest."""
    store = open_store(config, folder)
    _each(names, lambda entry: _verified(store, entry), as_json=json)


@app.command()
def remove(
    names: Names, *, json: Json = False, folder: Folder = None, config: Config = None
) -> None:
    """Delete installed models and what interrupted pulls left."""
    store = open_store(config, folder)
    _each(names, lambda entry: {"freed_bytes": store.remove(entry)}, as_json=json)


def open_store(config: Path | None, folder: Path | None = None) -> ModelStore:
    """The store that the settings name; `folder` overrides where it is."""
    from rhapsode.settings import load

    chosen = load(config).settings.models
    return ModelStore(
        folder or chosen.folder,
        chosen.mirror_folder,
        hub=chosen.hub,
        registry=chosen.registry,
    )


def find(name: str) -> Entry:
    """The entry of that name; NotFound (`unknown_model`) with what there is."""
    for entry in ENTRIES:
        if name == entry.folder or (isinstance(entry, Model) and name == entry.name):
            return entry
    raise NotFound(
        "unknown_model",
        f"There is no model called '{name}'.",
        hint=f"There are: {', '.join(model.name for model in (*MODELS, *DIARISER_MODELS))}.",
    )


def pull_with_bar(store: ModelStore, entry: Entry) -> Path:
    """Installs an entry, with a progress bar on standard error while bytes move."""
    if (path := store.path_of(entry)) is not None:
        return path
    with _bar(entry.folder) as report:
        return store.pull(entry, report)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    with bars() as progress:
        task = progress.add_task(title, total=None, stage="download", bytes=True)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


def _each(names: list[str], work: Callable[[Entry], dict[str, Any]], *, as_json: bool) -> None:
    """Does it to every entry; one that fails does not stop the others."""
    codes, documents = [], []
    for name in names:
        try:
            result, code = work(find(name)), ExitCode.OK
        except DomainError as error:
            if not as_json:
                error_line(error.message, error.hint)
            result, code = (
                {"error": {"code": error.code, "message": str(error)}},
                code_of(error),
            )
        codes.append(code)
        documents.append({"name": name, **result})
        if not as_json and code is ExitCode.OK:
            emit_text(f"{name}: {_told(result)}")
    if as_json:
        emit_json(documents)
    raise typer.Exit(combined(codes))


def _told(result: dict[str, Any]) -> str:
    if "freed_bytes" in result:
        return f"{_megabytes(result['freed_bytes'])} freed"
    return str(result.get("path", "verified"))


def _verified(store: ModelStore, entry: Entry) -> dict[str, Any]:
    if bad := store.verify(entry):
        raise Invalid(
            "model_damaged",
            f"{entry.folder} is damaged: {', '.join(bad)}.",
            hint=f"`rhapsode models pull {entry.folder}` gets it again.",
        )
    return {"verified": True}


def _row(store: ModelStore, entry: Entry) -> dict[str, Any]:
    model = entry if isinstance(entry, Model) else None
    presence = store.presence(entry)
    path = store.path_of(entry)
    return {
        "name": model.name if model and model.engine == DEFAULT_ENGINE else entry.folder,
        "engine": model.engine if model else None,
        "size_bytes": model.size_bytes if model else sum(f.size for f in entry.files),
        "presence": presence.value,
        "path": str(path) if path else None,
        "languages": list(model.languages) if model else [],
        "description": entry.description,
    }


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _languages(codes: list[str]) -> str:
    return str(len(codes)) if len(codes) > 3 else " ".join(codes)
