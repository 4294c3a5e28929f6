"""/api/deliveries, and those of a job: on their way, arrived, given up, sent again."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field

from rhapsode.api.bodies import Answer, Asked, Page, page_of
from rhapsode.api.deps import Ctx, CurrentUser, Limit
from rhapsode.api.errors import problems
from rhapsode.api.jobs import Outputs, job_body
from rhapsode.database.deliveries import DeliveryFilter
from rhapsode.domain.deliveries import (
    Delivery,
    DeliveryId,
    DeliveryKind,
    DeliveryState,
    EndpointId,
)
from rhapsode.domain.jobs import Job, JobId
from rhapsode.domain.urls import shown
from rhapsode.services import deliveries

router = APIRouter(tags=["deliveries"], responses=problems(401, 403, 503))


def _shown(url: str | None) -> str | None:
    return None if url is None else shown(url)


class DeliveryBody(Answer):
    """One thing on its way to one place.

    `subject` is the artifact's name or the event. Of its URL, credentials and query are not
    shown. `status`, `latency` (seconds), `error` and `response` tell of the last attempt;
    `next_at` is when a pending one is tried next.
    """

    id: UUID
    job_id: UUID | None
    endpoint_id: UUID | None
    kind: DeliveryKind
    subject: str
    destination: str
    url: Annotated[str | None, BeforeValidator(_shown)]
    state: DeliveryState
    attempts: int
    next_at: datetime
    created_at: datetime
    settled_at: datetime | None
    status: int | None
    latency: float | None
    error: str | None
    response: str | None


class DeliveryList(Answer):
    """All deliveries of a job, the oldest first."""

    items: list[DeliveryBody]


class FreshUrls(Asked):
    """Where artifacts shall go that could not be delivered, or were not asked for before."""

    outputs: Outputs = Field(min_length=1)


def delivery_body(delivery: Delivery) -> DeliveryBody:
    """The document of a delivery."""
    return DeliveryBody.model_validate(delivery)


def record(job: Job, sent: list[Delivery]) -> dict[str, Any]:
    """The record of a job that is put out as `meta`: its document, and how each went."""
    document = job_body(job).model_dump(mode="json")
    return {
        **document,
        "deliveries": [delivery_body(item).model_dump(mode="json") for item in sent],
    }


@router.get("/jobs/{job_id}/deliveries", responses=problems(404, 422))
async def of_job(context: Ctx, user: CurrentUser, job_id: UUID) -> DeliveryList:
    """What a job has sent, and what it still has to send."""
    found = await deliveries.of_job(context, user, JobId(job_id))
    return DeliveryList(items=[delivery_body(item) for item in found])


@router.post("/jobs/{job_id}/deliveries", responses=problems(403, 404, 409, 422))
async def give_urls(
    context: Ctx, user: CurrentUser, job_id: UUID, asked: FreshUrls
) -> DeliveryList:
    """Deliver to fresh or further URLs; a job that has its transcript is not run again."""
    found = await deliveries.give_urls(context, user, JobId(job_id), asked.outputs)
    return DeliveryList(items=[delivery_body(item) for item in found])


@router.get("/deliveries", responses=problems(422))
async def page(
    context: Ctx,
    user: CurrentUser,
    state: Annotated[list[DeliveryState] | None, Query(description="Any of these.")] = None,
    job_id: UUID | None = None,
    endpoint_id: UUID | None = None,
    cursor: UUID | None = None,
    limit: Limit = 50,
) -> Page[DeliveryBody]:
    """One's deliveries, newest first."""
    wanted = DeliveryFilter(
        user_id=user.id,
        states=state or (),
        job_id=None if job_id is None else JobId(job_id),
        endpoint_id=None if endpoint_id is None else EndpointId(endpoint_id),
        before=None if cursor is None else DeliveryId(cursor),
    )
    found = await deliveries.page(context, wanted, limit + 1)
    return page_of([delivery_body(item) for item in found], [it.id for it in found], limit)


@router.post("/deliveries/{delivery_id}/redeliver", responses=problems(404, 409, 422))
async def redeliver(context: Ctx, user: CurrentUser, delivery_id: UUID) -> DeliveryBody:
    """Send it once more, or at once instead of later."""
    found = await deliveries.redeliver(context, user, DeliveryId(delivery_id))
    return delivery_body(found)
