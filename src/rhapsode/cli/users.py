"""`rhapsode user …`: accounts, in the database itself, so no server need run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rhapsode.cli.group import Group
from rhapsode.cli.options import Config, Data, Json
from rhapsode.cli.output import emit_json, emit_table, local, note
from rhapsode.cli.server import in_services
from rhapsode.domain.users import Role, User

if TYPE_CHECKING:
    from rhapsode.services.context import Context
    from rhapsode.services.users import NewUser

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Administer accounts, directly in the database: on the server's machine only.",
)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The account's e-mail address.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        help="A file with the password; `-` reads standard input.",
        show_default=False,
        allow_dash=True,
    ),
]


@app.command()
def create(
    email: Email,
    *,
    role: Annotated[Role, typer.Option(help="What the account may do.")] = Role.MEMBER,
    password_file: PasswordFile = None,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Make an account; without --password-file its password is made up and printed once."""
    password = read_password(password_file)

    async def work(context: "Context") -> "NewUser":
        from rhapsode.services import users

        return await users.create(context, email, role, password)

    made = in_services(config, data, work)
    if json:
        emit_json(_document(made.user) | {"password": made.password})
        return
    emit_table(("email", made.user.email), _details(made.user, made.password))


def _details(user: User, password: str | None) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("id", user.id), ("role", user.role.value)]
    return [*rows, ("password", password)] if password else rows


@app.command("list")
def list_(*, json: Json = False, config: Config = None, data: Data = None) -> None:
    """List the accounts."""

    async def work(context: "Context") -> list[User]:
        from rhapsode.services import users

        return await users.all_users(context)

    found = in_services(config, data, work)
    if json:
        emit_json([_document(user) for user in found])
        return
    rows = [(user.email, user.role.value, local(user.created_at), user.id) for user in found]
    emit_table(("email", "role", "created", "id"), rows)


@app.command()
def password(
    email: Email,
    password_file: PasswordFile = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Set an account's password and sign it out everywhere; asks without --password-file."""
    chosen = read_password(password_file) or typer.prompt(
        "New password", hide_input=True, confirmation_prompt=True
    )

    async def work(context: "Context") -> None:
        from rhapsode.services import users

        user = await users.by_email(context, email)
        await users.set_password(context, user.id, chosen)

    in_services(config, data, work)
    note("The password is set.")


@app.command()
def delete(email: Email, config: Config = None, data: Data = None) -> None:
    """Delete an account that owns no jobs and recordings any more."""

    async def work(context: "Context") -> None:
        from rhapsode.services import users

        user = await users.by_email(context, email)
        await users.delete(context, user.id)

    in_services(config, data, work)
    note("The account is deleted.")


def read_password(file: Path | None) -> str | None:
    """The password in a file, without the line end; None where no file is named."""
    if file is None:
        return None
    text = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text()
    return text.rstrip("\r\n")


def _document(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "email": user.email,
        "role": user.role,
        "created_at": user.created_at,
    }
