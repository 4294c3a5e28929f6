"""What engines say when something goes wrong: the same words for every library."""

from collections.abc import Iterable
from pathlib import Path

from rhapsode.domain.errors import DomainError, Invalid, Unavailable
from rhapsode.engines.base import Canceled


def unsupported_language(language: str, known: Iterable[str]) -> Invalid:
    """The refusal of a language that a model lacks."""
    return Invalid(
        "unsupported_language",
        f"The model does not know the language '{language}'.",
        hint=f"It knows: {', '.join(known)}.",
    )


def unloadable(
    engine: str, model: Path, reason: object, hint: str | None = None
) -> Unavailable:
    """The model in that folder cannot be loaded; without a hint, how to mend its files."""
    name = f"{engine}/{model.name}"
    return Unavailable(
        "model_unloadable",
        f"The model in {model} cannot be loaded by {engine}: {_sentence(reason)}",
        hint=hint
        or f"`rhapsode models verify {name}` names damaged files, and "
        f"`rhapsode models pull {name}` gets them again.",
    )


def engine_failed(engine: str, reason: object) -> Unavailable:
    """The library gave up in the middle of its work."""
    return Unavailable("engine_failed", f"{engine} gave up: {_sentence(reason)}")


def translated(engine: str, error: Exception) -> Exception:
    """Our own errors as they are, a library's in our words."""
    if isinstance(error, DomainError | Canceled):
        return error
    failure = engine_failed(engine, str(error) or type(error).__name__)
    failure.__cause__ = error
    return failure


def only_file(engine: str, model: Path, *patterns: str) -> Path:
    """The weight file of a model that has one; Unavailable where none or several fit."""
    found = sorted({path for pattern in patterns for path in model.glob(pattern)})
    if len(found) == 1:
        return found[0]
    held = ", ".join(path.name for path in sorted(model.glob("[!.]*"))) or "nothing"
    wanted = " or ".join(patterns)
    raise unloadable(engine, model, f"it should hold one file {wanted}, and holds {held}.")


def _sentence(reason: object) -> str:
    words = " ".join(str(reason).split())
    return words if words.endswith((".", "!", "?")) else f"{words}."
