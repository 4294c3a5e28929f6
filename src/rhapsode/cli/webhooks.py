"""`rhapsode webhooks …`: whom the server tells of the ends of one's jobs."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rhapsode.cli.connect import connect, ensure_long_enough, run
from rhapsode.cli.exits import ExitCode
from rhapsode.cli.group import Group
from rhapsode.cli.options import ApiKey, Json, ServerUrl
from rhapsode.cli.output import emit_json, emit_table, emit_text, note
from rhapsode.domain.errors import Invalid, NotFound

if TYPE_CHECKING:
    from rhapsode.client.webhooks import Webhooks

Result = TypeVar("Result")

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Webhooks: signed messages to your own programs when jobs end.",
)

_SHORT_ID = 12
_MOST_SECONDS = 600.0

WebhookId = Annotated[
    str,
    typer.Argument(metavar="ID", help="Its id; a unique beginning or end of it is enough."),
]


def _with(
    server: str | None,
    api_key: str | None,
    work: Callable[["Webhooks"], Awaitable[Result]],
) -> Result:
    async def inside() -> Result:
        from rhapsode.client.webhooks import Webhooks

        async with connect(server, api_key) as client:
            return await work(Webhooks(client.http))

    return run(inside())


async def _find(webhooks: "Webhooks", text: str) -> str:
    """The id that `text` abbreviates; NotFound or Invalid where that is not one."""
    piece = text.strip().lower()
    ensure_long_enough(piece)
    ids = [str(item["id"]) for item in await webhooks.all()]
    found = [item for item in ids if item.startswith(piece) or item.endswith(piece)]
    if not found:
        raise NotFound(
            "webhook_not_found", f"No webhook of yours has an id like '{text[:40]}'."
        )
    if len(found) > 1:
        raise Invalid("ambiguous_id", f"'{text}' fits {len(found)} of them.")
    return found[0]


@app.command("list")
def list_(*, json: Json = False, server: ServerUrl = None, api_key: ApiKey = None) -> None:
    """List your webhooks, without their signing keys."""
    found = _with(server, api_key, lambda webhooks: webhooks.all())
    if json:
        emit_json(found)
        return
    emit_table(("id", "url", "events", "state", "description"), map(_row, found))


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    events = ", ".join(name.removeprefix("job.") for name in item["events"])
    state = "on" if item["enabled"] else f"off: {item['disabled_reason']}"
    return item["id"][-_SHORT_ID:], item["url"], events, state, item["description"]


@app.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send them, by POST.")],
    *,
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="An event to be told of, as in `job.failed`; may be repeated.",
            show_default="every end of a job",
        ),
    ] = None,
    description: Annotated[
        str, typer.Option(help="A word for yourself.", show_default=False)
    ] = "",
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Have a URL told of the ends of your jobs; its signing key is printed this once."""
    made = _with(
        server,
        api_key,
        lambda webhooks: webhooks.add(url, description=description, events=event or ()),
    )
    if made["insecure"] and not json:
        note("The messages travel without TLS: anybody on the way can read them.")
    _show_secret(made, as_json=json)


def _show_secret(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(made)
        return
    emit_text(made["secret"])
    note("This is the key that signs the messages. Keep it: it is shown this once.")


@app.command()
def remove(webhook_id: WebhookId, server: ServerUrl = None, api_key: ApiKey = None) -> None:
    """Delete a webhook, with what was not sent there yet."""

    async def work(webhooks: "Webhooks") -> None:
        await webhooks.remove(await _find(webhooks, webhook_id))

    _with(server, api_key, work)
    note("It is deleted.")


@app.command()
def enable(webhook_id: WebhookId, server: ServerUrl = None, api_key: ApiKey = None) -> None:
    """Send again to a webhook that was switched off, as by an answer of 410."""

    async def work(webhooks: "Webhooks") -> None:
        await webhooks.change(await _find(webhooks, webhook_id), enabled=True)

    _with(server, api_key, work)
    note("It is on.")


@app.command()
def rotate(
    webhook_id: WebhookId,
    *,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Give a webhook a new signing key; the one before signs along for 24 hours."""

    async def work(webhooks: "Webhooks") -> dict[str, Any]:
        return await webhooks.rotate(await _find(webhooks, webhook_id))

    _show_secret(_with(server, api_key, work), as_json=json)


@app.command("test")
def send_test(
    webhook_id: WebhookId,
    *,
    wait: Annotated[
        float,
        typer.Option(min=0, max=_MOST_SECONDS, help="Seconds to wait for the first answer."),
    ] = 30.0,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Send a test event and show what was answered; exit code 1 unless it arrived."""

    async def work(webhooks: "Webhooks") -> dict[str, Any]:
        return await webhooks.test(await _find(webhooks, webhook_id), wait)

    delivery = _with(server, api_key, work)
    if json:
        emit_json(delivery)
    else:
        emit_text(_told(delivery))
    if delivery["state"] != "delivered":
        raise typer.Exit(ExitCode.FAILED)


def _told(delivery: dict[str, Any]) -> str:
    if delivery["state"] == "delivered":
        milliseconds = round((delivery["latency"] or 0) * 1000)
        return f"It arrived: {delivery['status']} after {milliseconds} ms."
    if delivery["error"] is None:
        return "It is not sent yet; the server goes on trying."
    ending = " It is tried again." if delivery["state"] == "pending" else ""
    return f"It did not arrive. {delivery['error']}{ending}"
