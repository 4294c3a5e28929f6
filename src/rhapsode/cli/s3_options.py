"""Options that the commands of `rhapsode s3` share."""

from typing import Annotated

import typer

Endpoint = Annotated[
    str | None,
    typer.Option(
        envvar="S3_ENDPOINT",
        help="The S3 server's URL; it must be the one by which the server reaches it, too.",
        show_default="Amazon's",
    ),
]
Region = Annotated[
    str | None, typer.Option(help="The S3 region.", show_default="the profile's, or us-east-1")
]
Profile = Annotated[
    str | None,
    typer.Option(
        help="A profile of Amazon's tools. Without one, S3_ACCESS_KEY and S3_SECRET_KEY count, "
        "then AWS_ACCESS_KEY_ID and the others.",
        show_default=False,
    ),
]
VirtualHost = Annotated[
    bool | None,
    typer.Option(
        "--virtual-host/--path-style",
        help="Whether the bucket is named in the host name or in the path.",
        show_default="by path with --endpoint",
    ),
]
InputBucket = Annotated[str, typer.Option(help="The bucket of the recordings.")]
Prefix = Annotated[str, typer.Option(help="Only keys that begin so.", show_default=False)]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The key of this output; {key}, {folder}, {name} and {stem} stand for the "
        "recording's.",
        show_default=False,
    ),
]
