"""`rhapsode s3`: recordings in a bucket, their transcripts into a bucket."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhapsode.cli import s3_jobs
from rhapsode.cli.connect import connect, run
from rhapsode.cli.exits import combined
from rhapsode.cli.group import Group
from rhapsode.cli.options import ApiKey, Json, ServerUrl
from rhapsode.cli.output import emit_json, emit_table, error_line, note
from rhapsode.cli.s3_options import (
    Endpoint,
    InputBucket,
    Key,
    Profile,
    Region,
    VirtualHost,
)
from rhapsode.cli.s3_store import LONGEST_LINK_SECONDS, Access, Store
from rhapsode.cli.spec import (
    Engine,
    KeepMedia,
    Language,
    LayoutOption,
    MediaDays,
    Model,
    NotifyEmail,
    PriorityOption,
    Prompt,
    TranscriptDays,
    spec_of,
)
from rhapsode.cli.wishes import WishOption, wishes_of
from rhapsode.domain.deliveries import ARTIFACTS
from rhapsode.domain.errors import NotFound

if TYPE_CHECKING:
    from rhapsode.cli.s3_batch import Order, Outcome
    from rhapsode.cli.s3_plan import Item, Naming

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="Transcribe what is in an S3 bucket, into a bucket."
)


app.command("list")(s3_jobs.listed)
app.command()(s3_jobs.info)
app.command()(s3_jobs.delete)
app.command()(s3_jobs.purge)


@app.command()
def submit(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]...", help="Recordings by their keys in the bucket."),
    ] = None,
    *,
    input_bucket: InputBucket,
    prefix: Annotated[
        str | None,
        typer.Option(
            help="Every recording whose key begins so; '' for the whole bucket.",
            show_default=False,
        ),
    ] = None,
    output_bucket: Annotated[
        str | None,
        typer.Option(help="The bucket of the outputs.", show_default="the input's"),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help=f"An output beside the recording, by its key and a suffix: "
            f"{', '.join(ARTIFACTS)}.",
            show_default="txt, vtt, json",
        ),
    ] = None,
    vtt: Key = None,
    txt: Key = None,
    srt: Key = None,
    tsv: Key = None,
    csv: Key = None,
    meta: Key = None,
    json_key: Key = None,
    in_flight: Annotated[
        int, typer.Option(min=1, max=1000, help="How many jobs may be unfinished at once.")
    ] = 8,
    again: Annotated[
        bool, typer.Option("--again", help="Also what has its outputs already.")
    ] = False,
    link_hours: Annotated[
        float,
        typer.Option(
            min=0.05, max=168, help="How long links hold; those that expire are made anew."
        ),
    ] = 168,
    model: Model = None,
    engine: Engine = None,
    language: Language = None,
    layout: LayoutOption = None,
    prompt: Prompt = None,
    wishes: WishOption = None,
    priority: PriorityOption = None,
    keep_media: KeepMedia = False,
    notify_email: NotifyEmail = False,
    media_days: MediaDays = None,
    transcript_days: TranscriptDays = None,
    endpoint: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    virtual_host: VirtualHost = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Have recordings in a bucket transcribed, and their outputs put into a bucket.

    The server reads and writes the objects by presigned links; nothing passes through this
    machine. The command follows its jobs and ends with a table. However it was stopped, the
    same command goes on: what has its outputs is skipped, what runs is followed.
    """
    from rhapsode.cli.s3_batch import Order
    from rhapsode.cli.s3_plan import Naming

    if bool(keys) == (prefix is not None):
        raise typer.BadParameter("either keys or --prefix are needed", param_hint="KEY")
    patterns = {"vtt": vtt, "txt": txt, "srt": srt, "tsv": tsv, "csv": csv, "meta": meta}
    naming = Naming(names=_known(formats or ()), patterns=spec_of(**patterns, json=json_key))
    order = Order(
        input_bucket=input_bucket,
        output_bucket=output_bucket or input_bucket,
        spec=spec_of(
            model=model,
            engine=engine,
            language=language,
            layout=layout,
            prompt=prompt,
            priority=priority,
            **wishes_of(wishes),
        ),
        wishes={
            "keep": keep_media,
            "email": notify_email,
            "media_days": media_days,
            "transcript_days": transcript_days,
        },
        again=again,
    )
    access = Access(
        endpoint=endpoint, region=region, profile=profile, virtual_host=virtual_host
    )
    store = Store(access, min(link_hours * 3600, LONGEST_LINK_SECONDS))
    items = _planned(store, order, keys, prefix, naming)
    outcomes = run(_submit(store, order, items, in_flight, server, api_key, json))
    raise typer.Exit(combined(outcome.code for outcome in outcomes))


def _known(names: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name not in ARTIFACTS:
            raise typer.BadParameter(
                f"'{name}' is none of {', '.join(ARTIFACTS)}", param_hint="--format"
            )
    return names


def _planned(
    store: Store,
    order: "Order",
    keys: Sequence[str] | None,
    prefix: str | None,
    naming: "Naming",
) -> list["Item"]:
    from rhapsode.cli.s3_plan import plan

    for bucket in {order.input_bucket, order.output_bucket}:
        store.ensure_bucket(bucket)
    found = list(keys or store.recordings(order.input_bucket, prefix or ""))
    if not found:
        raise NotFound(
            "no_recordings",
            f"There is no recording under '{prefix}' in the bucket '{order.input_bucket}'.",
        )
    same = order.input_bucket == order.output_bucket
    return plan(found, naming, same_bucket=same)


async def _submit(
    store: Store,
    order: "Order",
    items: Sequence["Item"],
    in_flight: int,
    server: str | None,
    api_key: str | None,
    as_json: bool,  # noqa: FBT001
) -> list["Outcome"]:
    from rhapsode.cli.progress import bars
    from rhapsode.cli.s3_batch import Batch, Outcome
    from rhapsode.cli.s3_progress import BatchBars
    from rhapsode.cli.s3_watch import watching

    outcomes = [Outcome(item) for item in items]
    async with connect(server, api_key) as client:
        await client.me()  # a wrong address or key is told before anything else
        try:
            with bars() as progress:
                shown = BatchBars(progress, len(items))
                async with watching(client) as watch:
                    batch = Batch(
                        client=client, store=store, order=order, watch=watch, report=shown.show
                    )
                    await batch.run(outcomes, in_flight)
        finally:  # after Ctrl-C, too: what is done is told, and what goes on
            _tell(outcomes, order, as_json=as_json)
    return outcomes


def _tell(outcomes: Sequence["Outcome"], order: "Order", *, as_json: bool) -> None:
    if as_json:
        emit_json([_document(outcome, order) for outcome in outcomes])
    else:
        emit_table(("key", "result", "job", "outputs"), map(_row, outcomes))
    for outcome in outcomes:
        if outcome.error:
            error_line(f"{outcome.item.key}: {outcome.error.message}", outcome.error.hint)
    running = sum(outcome.standing == "running" for outcome in outcomes)
    if running:
        note(f"{running} still running on the server; the same command goes on with them.")


def _row(outcome: "Outcome") -> tuple[object, ...]:
    return (
        outcome.item.key,
        outcome.standing.value,
        outcome.job.id if outcome.job else None,
        ", ".join(outcome.item.outputs.values()),
    )


def _document(outcome: "Outcome", order: "Order") -> Mapping[str, Any]:
    error = outcome.error
    return {
        "bucket": order.input_bucket,
        "key": outcome.item.key,
        "result": outcome.standing.value,
        "resumed": outcome.taken_up,
        "job": outcome.job,
        "output_bucket": order.output_bucket,
        "outputs": outcome.item.outputs,
        "error": {"code": error.code, "message": error.message} if error else None,
    }
