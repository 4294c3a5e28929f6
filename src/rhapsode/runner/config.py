"""What a runner must be told."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rhapsode.domain.jobs import DEFAULT_ENGINE


def key_of(name: str) -> tuple[str, str]:
    """The engine and the model of a name, which is of the default engine without one."""
    engine, slash, model = name.rpartition("/")
    return (engine if slash else DEFAULT_ENGINE, model)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """What the child must know; it travels in its arguments, so no secret belongs here.

    `pull` allows fetching models that are missing; without it only installed ones are
    offered. `mirror_folder` is asked for them first, then the networks that `hub` and
    `registry` allow. `threads` None and `auto` leave the choice to the engine.

    `memory_budget` (bytes; None for half of the machine's), `idle_seconds` and `keep` (names
    of models, as for `RunnerConfig.preload`) say which models stay in memory: see `Shelf`.
    A `careful` child, which follows one that died for no known reason, looks at engines of
    other packages in processes of their own, and reads models' files again before loading.
    """

    models_folder: Path
    mirror_folder: Path | None = None
    device: str = "auto"
    compute_type: str = "auto"
    threads: int | None = None
    pull: bool = True
    hub: bool = True
    registry: bool = True
    memory_budget: int | None = None
    idle_seconds: float = 1800.0
    keep: tuple[str, ...] = ()
    careful: bool = False

    def to_json(self) -> str:
        """The form in which it travels."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "ChildSettings":
        """The settings that `to_json` wrote."""
        document = json.loads(text)
        mirror = document["mirror_folder"]
        document["models_folder"] = Path(document["models_folder"])
        document["mirror_folder"] = Path(mirror) if mirror else None
        document["keep"] = tuple(document["keep"])
        return cls(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """One runner: whom it serves, how, and its patience (in seconds).

    `drain_seconds`: how long a job may go on after a first SIGTERM before it is given back.
    `hang_seconds`: a child that neither reports nor computes for so long is killed.
    `cancel_seconds`: how long a child may take to stop by itself before it is killed.
    `progress_seconds`: news of progress go out no more often than this.
    `allow_networks` are networks, as in `10.0.0.0/8`, from which recordings by URL may come
    although they are not public.
    `preload` names models, `engine/model`, to fetch and load before the first claim.
    """

    server: str
    token: str = field(repr=False)
    name: str
    child: ChildSettings
    scratch: Path
    drain_seconds: float = 25.0
    hang_seconds: float = 300.0
    cancel_seconds: float = 1.5
    claim_seconds: float = 30.0
    progress_seconds: float = 1.0
    exit_with_parent: bool = False
    preload: tuple[str, ...] = ()
    allow_networks: tuple[str, ...] = ()
