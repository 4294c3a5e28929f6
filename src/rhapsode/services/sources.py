"""URLs of recordings and of results: which are taken at submission, and how s3:// is read."""

from collections.abc import Mapping

from rhapsode.domain.deliveries import ARTIFACTS
from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import JobSpec, Source
from rhapsode.domain.urls import checked_web_url, shown
from rhapsode.services.context import Context


async def ensure_usable(
    context: Context,  # noqa: ARG001
    spec: JobSpec,  # noqa: ARG001
    source: Source | None,
    outputs: Mapping[str, str],
) -> None:
    """Invalid where a URL can be seen to be of no use before anything is tried."""
    if source is not None:
        checked_web_url(source.url, "The input")
    _ensure_outputs(outputs)


def _ensure_outputs(outputs: Mapping[str, str]) -> None:
    for name, url in outputs.items():
        if name not in ARTIFACTS:
            raise Invalid(
                "unknown_artifact",
                f"There is no output called '{name[:40]}'.",
                hint=f"There are: {', '.join(ARTIFACTS)}.",
            )
        checked_web_url(url, f"The output '{name}'")
    _ensure_apart(outputs)


def _ensure_apart(outputs: Mapping[str, str]) -> None:
    """The later of two would overwrite the earlier."""
    seen: dict[str, str] = {}
    for name, url in outputs.items():
        place = shown(url)
        if place in seen:
            raise Invalid(
                "outputs_collide",
                f"The outputs '{seen[place]}' and '{name}' go to the same place: {place}.",
                hint="Give each a URL of its own.",
            )
        seen[place] = name
