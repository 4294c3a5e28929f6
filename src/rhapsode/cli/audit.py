"""`rhapsode audit`: the audit trail, from the database itself."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rhapsode.cli.options import Config, Data, Json
from rhapsode.cli.output import emit_json, emit_table, local
from rhapsode.cli.server import in_services
from rhapsode.domain.audit import Action, AuditEvent

if TYPE_CHECKING:
    from rhapsode.services.context import Context

_COLUMNS = ("at", "action", "subject", "by", "detail")


def audit(
    *,
    action: Annotated[
        Action | None, typer.Option(help="Only what was done like this.", show_default=False)
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only what was done to this id.", show_default=False)
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Only since this moment, in UTC.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="How many at most.")] = 100,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Show who deleted and changed what, the newest first."""

    async def work(context: "Context") -> list[AuditEvent]:
        from rhapsode.database.audit import AuditFilter
        from rhapsode.services import audit as service

        moment = since.replace(tzinfo=UTC) if since else None
        wanted = AuditFilter(action=action, subject=subject, since=moment)
        return await service.page(context, wanted, limit)

    found = in_services(config, data, work)
    if json:
        emit_json(found)
    else:
        emit_table(_COLUMNS, map(_row, found))


def _row(event: AuditEvent) -> tuple[object, ...]:
    detail = ", ".join(
        f"{name}={value}" for name, value in event.detail.items() if value is not None
    )
    by = event.actor_id or "the server"
    return local(event.at), event.action.value, event.subject_id, by, detail
