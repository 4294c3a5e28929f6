"""The audit trail: written in the transaction of what it tells, read by administrators."""

from uuid import UUID

from rhapsode.database import audit as table
from rhapsode.database.audit import AuditFilter
from rhapsode.database.engine import Transaction
from rhapsode.domain.audit import Action, AuditEvent, AuditId, Reason
from rhapsode.domain.users import UserId
from rhapsode.services.context import Context, new_id, now


async def record(
    transaction: Transaction,
    action: Action,
    subject_id: UUID | str,
    *,
    actor_id: UserId | None = None,
    **detail: str | float | bool | list[str] | None,
) -> None:
    """Note what was done to a thing, and by whom; None is the server itself.

    `detail` must hold no secret: URLs as `domain.urls.shown` gives them.
    """
    event = AuditEvent(
        id=AuditId(new_id()),
        at=now(),
        actor_id=actor_id,
        action=action,
        subject_kind=action.partition(".")[0],
        subject_id=str(subject_id),
        detail=detail,
    )
    await table.insert(transaction.connection, [event])


async def deleted(
    transaction: Transaction,
    action: Action,
    subject_id: UUID | str,
    reason: Reason,
    *,
    actor_id: UserId | None = None,
    **detail: str | float | bool | list[str] | None,
) -> None:
    """Note that a thing was deleted, and why; `Recorder.deleted` counts it after the commit."""
    await record(
        transaction, action, subject_id, actor_id=actor_id, reason=str(reason), **detail
    )


async def page(context: Context, wanted: AuditFilter, limit: int) -> list[AuditEvent]:
    """The newest entries that fit, at most `limit`."""
    async with context.database.read() as connection:
        return await table.page(connection, wanted, limit)
