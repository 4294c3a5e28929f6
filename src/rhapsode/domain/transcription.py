"""The transcription service's wire format under `/transcription/`: its words and its document.

That service (seed 001) was there before Rhapsode; its clients shall not notice the change.
What it calls a transcription job is a `Record` here: a number, what was asked for, and the
job that does it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rhapsode.domain.jobs import TERMINAL, Job, JobState, Priority
from rhapsode.domain.urls import shown

MAX_NUMBER = 2**31 - 1
MAX_EXPIRATION_SECONDS = 10 * 366 * 86400.0
DEFAULT_EXPIRATION_SECONDS = 3600.0
DEFAULT_MODEL = "small.en"
STAND_IN_ENGINE = "faster-whisper"
"""The engine of the default install; it does what is asked of an engine that nobody offers."""

LOCK_FLAG = "transcription.locked"


class AskedEngine(StrEnum):
    """The engines of that service. Each writes its outputs in a way of its own."""

    OPENAI_WHISPER = "openai-whisper"
    WHISPER_CPP = "whisper.cpp"
    FASTER_WHISPER = "faster-whisper"


class NotificationType(StrEnum):
    """How a client learns of the end."""

    POLL = "poll"
    """It asks; once it has read the end, the record goes."""
    EXPIRE = "expire"
    """It asks as often as it likes, until the record expires."""
    URL = "url"
    """It is told by a PUT, and may ask until the record expires."""


class Word(StrEnum):
    """The states of that service."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    ERROR = "error"
    EXPIRED = "expired"
    CANCELED = "canceled"


WORD_OF_STATE: Mapping[JobState, Word] = {
    JobState.QUEUED: Word.QUEUED,
    JobState.RUNNING: Word.RUNNING,
    JobState.DELIVERING: Word.RUNNING,
    JobState.FINISHED: Word.FINISHED,
    JobState.FAILED: Word.ERROR,
    JobState.EXPIRED: Word.EXPIRED,
    JobState.CANCELED: Word.CANCELED,
}

_WHISPER = (
    "tiny.en tiny base.en base small.en small medium.en medium "
    "large-v1 large-v2 large-v3 large-v3-turbo"
)
_GGML = (
    "tiny tiny.en tiny-q5_1 tiny.en-q5_1 tiny-q8_0 "
    "base base.en base-q5_1 base.en-q5_1 base-q8_0 "
    "small small.en small.en-tdrz small-q5_1 small.en-q5_1 small-q8_0 "
    "medium medium.en medium-q5_0 medium.en-q5_0 medium-q8_0 "
    "large-v1 large-v2 large-v2-q5_0 large-v2-q8_0 large-v3 large-v3-q5_0 "
    "large-v3-turbo large-v3-turbo-q5_0 large-v3-turbo-q8_0"
)
_DISTILLED = "distil-small.en distil-medium.en distil-large-v2 distil-large-v3"

MODELS: Mapping[AskedEngine, tuple[str, ...]] = {
    AskedEngine.OPENAI_WHISPER: tuple(_WHISPER.split()),
    AskedEngine.WHISPER_CPP: tuple(_GGML.split()),
    AskedEngine.FASTER_WHISPER: (*_WHISPER.split(), *_DISTILLED.split()),
}
"""What can be asked of each engine, by the names that these clients use."""

_VARIANT = re.compile(r"-(q\d_\d|tdrz)$")


def plain_model(model: str) -> str:
    """The model of which this is a quantised or otherwise varied copy."""
    return _VARIANT.sub("", model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of that service, checked. `document` is the request itself, as JSON.

    `outputs` maps artifacts' names to URLs; `language` is None for detecting it.
    """

    engine: AskedEngine
    model: str
    language: str | None
    input: str
    outputs: Mapping[str, str]
    notification_type: NotificationType
    notification_url: str | None
    expiration_seconds: float
    priority: Priority
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What that service keeps of a job, and the job.

    `read_at` is when a client had been sent the end to the last byte.
    """

    number: int
    job: Job
    owner: str
    request: str
    notification_type: NotificationType
    expiration_seconds: float
    read_at: datetime | None = None
    url_notified: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether the job's state will not change by itself any more."""
        return self.job.state in TERMINAL

    @property
    def is_read_once(self) -> bool:
        """Whether the answer that is given now shall be the last."""
        return self.has_ended and self.notification_type is NotificationType.POLL

    @property
    def leaves_transcript_behind(self) -> bool:
        """Whether there is a transcript that did not reach where it should go."""
        unsent = {JobState.FAILED, JobState.EXPIRED}
        return self.job.transcribed_at is not None and self.job.state in unsent

    @property
    def asked_engine(self) -> AskedEngine:
        """The engine that the client named."""
        return AskedEngine(_options(self.request)["engine"])

    @property
    def asked_model(self) -> str:
        """The model that the client named."""
        return str(_options(self.request)["model"])


def _options(request: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = json.loads(request)["options"]
    return options


def document(record: Record, *, with_secrets: bool) -> dict[str, Any]:
    """The job as that service shows it; times are seconds since 1970, 0 where not yet.

    Only the owner may see the request with its secrets; others see where its URLs lead.
    """
    job = record.job
    ended = job.finished_at or job.transcribed_at
    worked_until = job.transcribed_at or job.finished_at
    return {
        "id": record.number,
        "owner": record.owner,
        "state": WORD_OF_STATE[job.state],
        "message": message(record),
        "media_length": job.duration or 0.0,
        "language_used": job.language or "",
        "request": record.request if with_secrets else without_secrets(record.request),
        "queue_time": job.queued_at.timestamp(),
        "start_time": _timestamp(job.started_at),
        "finish_time": _timestamp(ended),
        "processing_time": _seconds(job.started_at, worked_until),
        "url_notified": record.url_notified,
        "priority": int(job.spec.priority),
    }


def _timestamp(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


def _seconds(start: datetime | None, end: datetime | None) -> float:
    return 0.0 if start is None or end is None else max(0.0, (end - start).total_seconds())


def message(record: Record) -> str:
    """The state in a sentence, and what a client should know beside it."""
    parts = [_state_message(record.job), *record.job.warnings, *_stand_in_message(record)]
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts)


_MESSAGES: Mapping[JobState, str] = {
    JobState.QUEUED: "Job has been queued",
    JobState.RUNNING: "Transcription started",
    JobState.DELIVERING: "The outputs are being sent",
    JobState.FINISHED: "Transcription has completed successfully",
    JobState.FAILED: "The job failed",
    JobState.EXPIRED: "A URL has expired",
    JobState.CANCELED: "The job was canceled",
}


def _state_message(job: Job) -> str:
    if job.error is not None and job.state in {JobState.FAILED, JobState.EXPIRED}:
        return job.error.message
    if job.state is JobState.RUNNING and job.progress is not None:
        done = f"{job.progress.stage}, {job.progress.fraction:.0%}"
        return f"{_MESSAGES[job.state]}: {done}"
    return _MESSAGES[job.state]


def _stand_in_message(record: Record) -> list[str]:
    asked = (str(record.asked_engine), record.asked_model)
    used = (record.job.spec.engine, record.job.spec.model)
    if asked == used:
        return []
    return [f"No runner offers {' '.join(asked)}, so {' '.join(used)} does it"]


def without_secrets(request: str) -> str:
    """The request with its URLs as `urls.shown` gives them."""
    found = json.loads(request)
    options = found["options"]
    options["input"] = shown(options["input"])
    options["outputs"] = {
        name: None if url is None else shown(url) for name, url in options["outputs"].items()
    }
    if found.get("notification_url"):
        found["notification_url"] = shown(found["notification_url"])
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
