"""How long a job will wait, by the queue ahead of it and what such jobs took lately."""

from rhapsode.database import jobs as table
from rhapsode.domain.jobs import JobSpec
from rhapsode.services import offers
from rhapsode.services.context import Context

_MOST_COUNTED = 10_000
"""A queue longer than this counts as this long: it is an estimate."""


async def wait_seconds(context: Context, spec: JobSpec) -> float:
    """The least that a job submitted now is likely to wait; 0 where nothing is known."""
    each = context.recorder.typical_run_seconds(spec.requirement)
    if each is None:
        return 0.0
    async with context.database.read() as connection:
        ahead = await table.count_ahead(connection, spec, _MOST_COUNTED)
    runners = await offers.online(context) if ahead else []
    able = sum(spec.requirement in r.capabilities.requirements() for r in runners)
    return ahead * each / max(1, able)
