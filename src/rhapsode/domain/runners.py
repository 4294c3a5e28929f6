"""Runners: what they offer, what they are given, and what they are told."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import chain, combinations
from uuid import UUID

from rhapsode.domain.jobs import JobId, JobSpec, RunnerId, Stage, requirement_key


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOffer:
    """One engine of a runner, with the models that it can load."""

    engine: str
    models: tuple[str, ...]
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a runner can do.

    `device` is `cpu`, `cuda`, …; `speed` maps `engine/model` to measured audio seconds
    per second, where the runner has measured it. `loaded` names the models in its memory,
    `engine/model`, the last used last.
    """

    engines: tuple[EngineOffer, ...] = ()
    stages: tuple[Stage, ...] = (Stage.TRANSCRIBE,)
    device: str = "cpu"
    threads: int | None = None
    speed: dict[str, float] | None = None
    loaded: tuple[str, ...] = ()

    def requirements(self) -> frozenset[str]:
        """Every requirement key that this covers."""
        extra = sorted(set(self.stages) - {Stage.TRANSCRIBE})
        subsets = chain.from_iterable(
            combinations(extra, size) for size in range(len(extra) + 1)
        )
        pairs = [(offer.engine, model) for offer in self.engines for model in offer.models]
        return frozenset(
            requirement_key(engine, model, frozenset(stages))
            for stages in subsets
            for engine, model in pairs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A process on some machine that claims jobs over outbound HTTPS."""

    id: RunnerId
    token_id: UUID
    name: str
    version: str
    capabilities: Capabilities
    registered_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerToken:
    """A runner's bearer secret, of which only the name and the hash are kept."""

    id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The server's answer to `register`: who the runner is, and the rhythm to keep."""

    runner_id: RunnerId
    heartbeat_seconds: float
    lease_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedMedia:
    """What a runner must know to fetch the recording and to check it."""

    name: str
    size: int
    digest: str
    duration: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedSource:
    """What a runner must know to fetch a recording by URL, and how far it may go for it.

    `url` may carry secrets, `shown` is what may be told of it. Without a `url`, the
    recording comes by way of the server. With `keep`, the runner stores it there as the
    job's media before it begins. Which addresses it speaks to is the runner's own affair.
    """

    name: str
    shown: str
    url: str | None = field(repr=False)
    keep: bool
    max_bytes: int
    max_redirects: int
    connect_seconds: float
    read_seconds: float
    fetch_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One run of one job, handed to one runner: its lease.

    The recording is either stored at the server (`media`) or has to be fetched (`source`).
    """

    job_id: JobId
    attempt: int
    spec: JobSpec
    media: AssignedMedia | None = None
    source: AssignedSource | None = None

    @property
    def name(self) -> str:
        """The recording's name."""
        found = self.media or self.source
        return found.name if found is not None else ""

    @property
    def duration(self) -> float | None:
        """The recording's seconds, None where nobody knows yet."""
        return self.media.duration if self.media is not None else None


@dataclass(frozen=True, slots=True)
class Lease:
    """A runner's right to one run of one job: what every report of that run names."""

    runner_id: RunnerId
    job_id: JobId
    attempt: int


class Verdict(StrEnum):
    """What a heartbeat answers."""

    CONTINUE = "continue"
    CANCEL = "cancel"
