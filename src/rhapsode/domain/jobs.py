"""Jobs: what is asked for, the states it goes through, and which changes are allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NewType
from uuid import UUID

from rhapsode.domain.errors import Conflict
from rhapsode.domain.media import MediaId
from rhapsode.domain.speakers import ANY_SPEAKERS, SpeakerBounds
from rhapsode.domain.users import UserId

JobId = NewType("JobId", UUID)
RunnerId = NewType("RunnerId", UUID)

DEFAULT_ENGINE = "faster-whisper"
DEFAULT_MODEL = "base"
MAX_PROMPT_CHARACTERS = 2000
MAX_HOTWORDS = 500
MAX_HOTWORD_CHARACTERS = 60
MAX_DAYS = 36500
"""A century, for what is kept."""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


TERMINAL = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})


class Change(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    LAPSE = "lapse"
    GIVE_BACK = "give back"
    EXHAUST = "exhaust"
    FAIL = "fail"
    RESULT = "result"
    DELIVER = "deliver"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    REDELIVER = "redeliver"
    EXPIRE = "expire"
    CANCEL = "cancel"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the state machine: which states a change leaves, and where it leads."""

    sources: frozenset[JobState]
    target: JobState
    meaning: str


def _row(target: JobState, meaning: str, *sources: JobState) -> Transition:
    return Transition(frozenset(sources), target, meaning)


_S = JobState
TRANSITIONS: dict[Change, Transition] = {
    Change.CLAIM: _row(_S.RUNNING, "a runner takes it", _S.QUEUED),
    Change.LAPSE: _row(_S.QUEUED, "lease lost, attempts left", _S.RUNNING),
    Change.GIVE_BACK: _row(_S.QUEUED, "the runner is leaving", _S.RUNNING),
    Change.EXHAUST: _row(_S.FAILED, "lease lost, no attempt left", _S.RUNNING),
    Change.FAIL: _row(_S.FAILED, "the runner says that it cannot be done", _S.RUNNING),
    Change.RESULT: _row(_S.FINISHED, "result stored, nothing to deliver", _S.RUNNING),
    Change.DELIVER: _row(_S.DELIVERING, "result stored, deliveries wait", _S.RUNNING),
    Change.DELIVERED: _row(_S.FINISHED, "every delivery arrived", _S.DELIVERING),
    Change.UNDELIVERED: _row(_S.FAILED, "a delivery was given up", _S.DELIVERING),
    Change.REDELIVER: _row(
        _S.DELIVERING,
        "transcribed before, sent again",
        _S.FINISHED,
        _S.FAILED,
        _S.EXPIRED,
        _S.CANCELED,
    ),
    Change.EXPIRE: _row(_S.EXPIRED, "a URL stopped working", _S.RUNNING, _S.DELIVERING),
    Change.CANCEL: _row(
        _S.CANCELED, "its owner calls it off", _S.QUEUED, _S.RUNNING, _S.DELIVERING
    ),
    Change.RETRY: _row(
        _S.QUEUED, "its owner wants it again", _S.FAILED, _S.CANCELED, _S.EXPIRED
    ),
}


def ensure_allowed(state: JobState, change: Change) -> JobState:
    """The state that `change` leads to; Conflict where `state` does not allow it."""
    transition = TRANSITIONS[change]
    if state not in transition.sources:
        raise Conflict(
            "job_state",
            f"The job is {state}; '{change}' needs it to be "
            f"{' or '.join(sorted(transition.sources))}.",
        )
    return transition.target


class Layout(StrEnum):
    """How the text is laid out: lines, paragraphs at pauses, or paragraphs by speaker."""

    SIMPLE = "simple"
    SEGMENTATION = "segmentation"
    DIARISATION = "diarisation"


class Stage(StrEnum):
    """The stages of the pipeline that a runner may or may not offer."""

    TRANSCRIBE = "transcribe"
    DIARISE = "diarise"


class Priority(IntEnum):
    """A higher number is claimed first."""

    BATCH = 0
    NORMAL = 1
    URGENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What to do with a recording.

    `language` is an ISO 639-1 code as Whisper uses them, or None to detect it.
    `prompt` is text that the engine should take as context: names, spelling, style.
    `speakers` bounds how many are told apart in the layout `diarisation`.

    `languages` are those to choose from where the language is detected; with
    `mixed_languages` it is detected again and again, for people who switch. `translate_to` is
    the language that the text shall be in, where not the spoken one. `hotwords` are words to
    listen for. `temperature` None lets the engine raise it where decoding goes wrong. Without
    `numerals` numbers are written as words; without `punctuation` there is none. With
    `partials`, segments are told of as they come.
    """

    engine: str = DEFAULT_ENGINE
    model: str = DEFAULT_MODEL
    language: str | None = None
    layout: Layout = Layout.SIMPLE
    word_times: bool = True
    prompt: str | None = None
    priority: Priority = Priority.NORMAL
    speakers: SpeakerBounds = ANY_SPEAKERS
    languages: tuple[str, ...] = ()
    mixed_languages: bool = False
    translate_to: str | None = None
    hotwords: tuple[str, ...] = ()
    temperature: float | None = None
    numerals: bool = True
    punctuation: bool = True
    partials: bool = False

    def wishing(self, wishes: Mapping[str, Any]) -> "JobSpec":
        """With these fields set, as JSON has them: lists become tuples."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in wishes.items()
        }
        return replace(self, **values)

    @property
    def stages(self) -> frozenset[Stage]:
        """The pipeline stages that this needs of a runner."""
        if self.layout is Layout.DIARISATION:
            return frozenset({Stage.TRANSCRIBE, Stage.DIARISE})
        return frozenset({Stage.TRANSCRIBE})

    @property
    def requirement(self) -> str:
        """The key by which a claim matches this job to a runner's capabilities."""
        return requirement_key(self.engine, self.model, self.stages)


def requirement_key(engine: str, model: str, stages: frozenset[Stage]) -> str:
    """`engine/model`, and a `+stage` for each stage beyond transcribing."""
    extra = sorted(stage for stage in stages if stage is not Stage.TRANSCRIBE)
    return "+".join([f"{engine}/{model}", *extra])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: what it is doing, and the share of that which is done (0 to 1)."""

    stage: str
    fraction: float


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, for programs (`code`) and for people (`message`)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a recording comes from that is not stored here: it is fetched as the job starts.

    `url` is http(s) or `s3://bucket/key` and may carry secrets: show it by `urls.shown` only.
    With `keep`, the runner stores what it fetched as the job's media.
    """

    url: str
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who is told of a job's end: the user's webhooks, and by e-mail, by a PUT to a URL."""

    email: bool = False
    put_url: str | None = None
    webhooks: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days after its end a job's media and transcript are kept; 0: not at all.

    None leaves it to the policy of the server.
    """

    media_days: float | None = None
    transcript_days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request to turn one Media into a Transcript.

    `attempt` counts leases and never repeats, so (id, attempt) names one run for ever.
    `source` is set instead of `media_id` for a recording that is fetched by URL; `outputs`
    maps an artifact's name (`domain.deliveries.ARTIFACTS`) to the URL that it is PUT to.
    `transcribed_at` is when the transcript was stored; what remains then is to deliver it.
    `transcript_deleted_at` is when retention took it away again.
    """

    id: JobId
    user_id: UserId
    media_id: MediaId | None
    name: str
    spec: JobSpec
    state: JobState
    attempt: int
    max_attempts: int
    created_at: datetime
    queued_at: datetime
    duration: float | None = None
    progress: Progress | None = None
    runner_id: RunnerId | None = None
    runner_name: str | None = None
    lease_expires_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    language: str | None = None
    error: JobError | None = None
    warnings: tuple[str, ...] = ()
    source: Source | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    notify: Notify = Notify()
    retention: Retention = Retention()
    transcribed_at: datetime | None = None
    transcript_deleted_at: datetime | None = None

    def evolve(self, **changes: object) -> "Job":
        """A copy with these fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]
