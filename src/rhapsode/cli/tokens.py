"""`rhapsode token …`: API keys and runner tokens, in the database itself."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from rhapsode.cli.connect import ensure_long_enough
from rhapsode.cli.group import Group
from rhapsode.cli.options import Config, Data, Json
from rhapsode.cli.output import emit_json, emit_table, emit_text, local, note
from rhapsode.cli.server import in_services
from rhapsode.domain.errors import Invalid, NotFound
from rhapsode.domain.users import KeyId, Role, User

if TYPE_CHECKING:
    from rhapsode.services.context import Context

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Administer API keys and runner tokens, directly in the database.",
)


@app.command()
def create(
    *,
    runner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Make a runner's token.", show_default=False),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Make an API key.", show_default=False),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="EMAIL", help="Whose API key.", show_default="the only administrator"
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Make a secret for a runner or a program; it is printed this once."""
    if (runner is None) == (api_key is None):
        raise typer.BadParameter("give one of --runner and --api-key")

    async def work(context: "Context") -> dict[str, Any]:
        if runner is not None:
            return await _runner_token(context, runner)
        return await _api_key(context, api_key or "", user)

    made = in_services(config, data, work)
    if json:
        emit_json(made)
    else:
        emit_text(made["secret"])
        note("Keep it: it is shown this once.")


async def _runner_token(context: "Context", name: str) -> dict[str, Any]:
    from rhapsode.services import runners

    made = await runners.create_token(context, name)
    return {"kind": "runner", "id": made.token.id, "name": name, "secret": made.secret}


async def _api_key(context: "Context", name: str, email: str | None) -> dict[str, Any]:
    from rhapsode.services import users

    owner = await users.by_email(context, email) if email else await _only_admin(context)
    made = await users.create_key(context, owner, name)
    return {
        "kind": "api-key",
        "id": made.key.id,
        "name": name,
        "user": owner.email,
        "secret": made.secret,
    }


async def _only_admin(context: "Context") -> User:
    from rhapsode.services import users

    admins = [user for user in await users.all_users(context) if user.role is Role.ADMIN]
    if not admins:
        raise NotFound(
            "no_admin",
            "There is no administrator yet.",
            hint="`rhapsode user create EMAIL --role admin` makes one; so does the first "
            "`rhapsode serve`.",
        )
    if len(admins) > 1:
        raise Invalid(
            "which_user",
            "There are several administrators.",
            hint="Say whose key it is with --user EMAIL.",
        )
    return admins[0]


@app.command("list")
def list_(*, json: Json = False, config: Config = None, data: Data = None) -> None:
    """List API keys and runner tokens, without their secrets."""

    async def work(context: "Context") -> list[dict[str, Any]]:
        return await _all(context)

    found = in_services(config, data, work)
    if json:
        emit_json(found)
        return
    columns = ("id", "kind", "name", "user", "created")
    emit_table(columns, [[*list(row.values())[:4], local(row["created_at"])] for row in found])


async def _all(context: "Context") -> list[dict[str, Any]]:
    from rhapsode.services import runners, users

    emails = {user.id: user.email for user in await users.all_users(context)}
    keys = [
        {
            "id": key.id,
            "kind": "api-key",
            "name": key.name,
            "user": emails.get(key.user_id),
            "created_at": key.created_at,
        }
        for key in await users.keys_of(context, None)
    ]
    tokens = [
        {
            "id": token.id,
            "kind": "runner",
            "name": token.name,
            "user": None,
            "created_at": token.created_at,
        }
        for token in await runners.tokens(context)
    ]
    return [*keys, *tokens]


@app.command()
def revoke(
    token_id: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, or a unique beginning or end of it.")
    ],
    config: Config = None,
    data: Data = None,
) -> None:
    """Make an API key or a runner token void, from now on."""
    text = token_id.strip().lower()
    ensure_long_enough(text)

    async def work(context: "Context") -> None:
        await _revoke(context, text)

    in_services(config, data, work)
    note("It is void.")


async def _revoke(context: "Context", text: str) -> None:
    from rhapsode.services import runners, users

    found = [
        row
        for row in await _all(context)
        if str(row["id"]).startswith(text) or str(row["id"]).endswith(text)
    ]
    if len(found) > 1:
        raise Invalid("ambiguous_id", f"'{text}' fits {len(found)} of them.")
    if not found:
        raise NotFound("token_not_found", f"No API key or runner token is like '{text}'.")
    identity: UUID = found[0]["id"]
    if found[0]["kind"] == "runner":
        await runners.delete_token(context, identity)
    else:
        await users.delete_key(context, KeyId(identity), None)
