"""Whether it lives, whether it can work, and what it counts."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Response

from rhapsode.api.bodies import Answer
from rhapsode.api.deps import Admin, Ctx
from rhapsode.api.errors import problems
from rhapsode.domain.errors import DomainError
from rhapsode.services import deliveries, jobs
from rhapsode.services.context import Context
from rhapsode.services.offers import online
from rhapsode.telemetry import METRICS_CONTENT_TYPE

router = APIRouter(tags=["health"])

CHECK_SECONDS = 5.0


class Health(Answer):
    """It lives."""

    status: str


class Check(Answer):
    """One part: whether it works, and what it says."""

    ok: bool
    detail: str


class Readiness(Answer):
    """`ready`, `degraded` (works, but nobody transcribes), or `unready`."""

    status: str
    checks: dict[str, Check]


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the process answers; it asks nobody else."""
    return Health(status="ok")


@router.get("/ready", responses={503: {"model": Readiness, "description": "Not ready."}})
async def ready(response: Response, context: Ctx) -> Readiness:
    """Whether the parts that this replica needs answer."""
    database, store, runners = await asyncio.gather(
        _check("connected", context.database.check()),
        _check("readable and writable", context.store.check()),
        _runners(context),
    )
    works = database.ok and store.ok
    if not works:
        response.status_code = 503
    return Readiness(
        status="unready" if not works else "ready" if runners.ok else "degraded",
        checks={"database": database, "object_store": store, "runners": runners},
    )


async def _check(good: str, work: Awaitable[None]) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await work
    except TimeoutError:
        return Check(ok=False, detail=f"no answer within {CHECK_SECONDS:.0f} s")
    except DomainError as error:
        return Check(ok=False, detail=error.message)
    return Check(ok=True, detail=good)


async def _runners(context: Context) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            count = len(await online(context))
    except (TimeoutError, DomainError):
        return Check(ok=False, detail="unknown")
    return Check(ok=count > 0, detail=f"{count} online")


@router.get("/metrics", response_class=Response, responses=problems(401, 403, 503))
async def metrics(context: Ctx, _admin: Admin) -> Response:
    """The metrics in Prometheus' text format, for an administrator's API key."""
    found = context.recorder.metrics
    for state, count in (await jobs.unfinished(context)).items():
        found.jobs_unfinished.labels(state).set(count)
    for waiting, count in (await deliveries.unsettled(context)).items():
        found.deliveries_unsettled.labels(waiting).set(count)
    found.runners_online.set(len(await online(context)))
    return Response(found.render(), headers={"content-type": METRICS_CONTENT_TYPE})
