"""The names by which clients of other products ask for models, and what they mean here."""

from rhapsode.domain.errors import NotFound
from rhapsode.domain.jobs import DEFAULT_ENGINE, DEFAULT_MODEL
from rhapsode.services.context import Context
from rhapsode.services.offers import Offers, offers

ALIASES = ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""OpenAI's models. Whoever asks for one gets the default, or what the settings say."""

DIARISING_ALIAS = "gpt-4o-transcribe-diarize"


async def model_named(context: Context, name: str) -> tuple[str, str]:
    """Engine and model of `engine/model`, a model of the default engine, or an alias."""
    possible = _by_name(await offers(context))
    wanted = context.rules.model_aliases.get(name, name)
    if wanted in possible:
        return possible[wanted]
    if name in {*ALIASES, DIARISING_ALIAS} or name.startswith(f"{ALIASES[-1]}-"):
        return DEFAULT_ENGINE, DEFAULT_MODEL
    raise NotFound(
        "unknown_model",
        f"There is no model '{name}'.",
        hint="GET /v1/models lists them.",
    )


async def model_names(context: Context) -> list[str]:
    """Every name that can be asked for, aliases last."""
    own = dict.fromkeys(context.rules.model_aliases)
    engines = (await offers(context)).engines
    full = [f"{engine.name}/{model.name}" for engine in engines for model in engine.models]
    return list(dict.fromkeys([*full, *own, *ALIASES, DIARISING_ALIAS]))


def _by_name(possible: Offers) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for engine in possible.engines:
        for model in engine.models:
            found[f"{engine.name}/{model.name}"] = (engine.name, model.name)
            if engine.name == DEFAULT_ENGINE:
                found[model.name] = (engine.name, model.name)
    return found
