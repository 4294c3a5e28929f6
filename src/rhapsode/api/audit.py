"""/api/audit: who deleted and changed what, for administrators."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from rhapsode.api.bodies import Answer, Page, page_of
from rhapsode.api.deps import Admin, Ctx, Limit
from rhapsode.api.errors import problems
from rhapsode.database.audit import AuditFilter
from rhapsode.domain.audit import Action, AuditId
from rhapsode.services import audit

router = APIRouter(prefix="/audit", tags=["audit"], responses=problems(401, 403, 422, 503))


class AuditBody(Answer):
    """One entry. Without an `actor_id` the server itself did it, or its operator."""

    id: UUID
    at: datetime
    actor_id: UUID | None
    action: Action
    subject_kind: str
    subject_id: str
    detail: dict[str, Any]


@router.get("")
async def page(
    context: Ctx,
    _admin: Admin,
    action: Action | None = None,
    subject: Annotated[
        str | None,
        Query(max_length=64, pattern=r"^[^\x00]*$", description="A thing's id."),
    ] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="With its zone, as in `2026-11-21T00:00:00Z`.")
    ] = None,
    cursor: UUID | None = None,
    limit: Limit = 50,
) -> Page[AuditBody]:
    """The audit trail, newest first."""
    wanted = AuditFilter(
        action=action,
        subject=subject,
        since=since,
        before=None if cursor is None else AuditId(cursor),
    )
    found = await audit.page(context, wanted, limit + 1)
    items = [AuditBody.model_validate(event) for event in found]
    return page_of(items, [event.id for event in found], limit)
