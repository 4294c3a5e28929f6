"""Speakers: what they are called, in one transcript and, by their voice, in later ones."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from rhapsode.database import jobs as jobs_table
from rhapsode.database import transcripts as transcripts_table
from rhapsode.database import voices as table
from rhapsode.database import webhooks as webhooks_table
from rhapsode.domain.errors import Conflict, Invalid, NotFound
from rhapsode.domain.jobs import Job, JobId
from rhapsode.domain.runners import Lease
from rhapsode.domain.transcripts import Transcript
from rhapsode.domain.users import User
from rhapsode.domain.voices import (
    MOST_VOICES,
    Voice,
    VoiceId,
    clean_speaker_name,
    recognised,
)
from rhapsode.services import idempotency
from rhapsode.services import jobs as jobs_service
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.idempotency import Once


@dataclass(frozen=True, slots=True)
class Speaker:
    """One of a transcript's speakers: the name, seconds of speech, and whether it is known
    what the voice sounds like, so that it can be enrolled.
    """

    name: str
    seconds: float
    can_enrol: bool


def speakers_in(transcript: Transcript) -> tuple[Speaker, ...]:
    """The transcript's speakers, in the order in which they first speak."""
    seconds = dict.fromkeys(transcript.speakers, 0.0)
    for segment in transcript.segments:
        if segment.speaker:
            seconds[segment.speaker] += segment.end - segment.start
    heard = transcript.voices.vectors if transcript.voices else {}
    return tuple(
        Speaker(name, round(spoken, 3), name in heard) for name, spoken in seconds.items()
    )


async def of_job(context: Context, user: User, job_id: JobId) -> tuple[Speaker, ...]:
    """The speakers of a job's transcript."""
    _, transcript = await jobs_service.transcript(context, user, job_id)
    return speakers_in(transcript)


async def rename(
    context: Context, user: User, job_id: JobId, names: Mapping[str, str]
) -> tuple[Speaker, ...]:
    """Call speakers by other names from now on, in every format of the transcript.

    Two speakers that get one name become one. Invalid (`unknown_speaker`) where the
    transcript has no such speaker.
    """
    wanted = {old: clean_speaker_name(new) for old, new in names.items()}
    async with context.database.write() as transaction:
        job = await jobs_table.get(transaction.connection, job_id, user.id)
        if job is None:
            raise jobs_service.not_found()
        stored = await transcripts_table.locked(transaction.connection, job_id)
        if stored is None:
            raise jobs_service.no_transcript(job)
        transcript, document = await asyncio.to_thread(_renamed, stored, wanted)
        await transcripts_table.replace(transaction.connection, job_id, document)
        transaction.signal(jobs_service.changed(job))
    return speakers_in(transcript)


def _renamed(stored: bytes, names: Mapping[str, str]) -> tuple[Transcript, bytes]:
    found = transcripts_table.unpack(stored)
    unknown = sorted(set(names) - set(found.speakers))
    if unknown:
        raise _unknown_speaker(unknown[0], found)
    renamed = found.renamed(names)
    return renamed, transcripts_table.pack(renamed)


def _unknown_speaker(name: str, transcript: Transcript) -> Invalid:
    there = ", ".join(transcript.speakers)
    return Invalid(
        "unknown_speaker",
        f"The transcript has no speaker called '{name}'.",
        hint=f"There are: {there}." if there else "Its speakers were not told apart.",
    )


async def enrol(
    context: Context,
    user: User,
    name: str,
    job_id: JobId,
    speaker: str | None,
    *,
    request: Once | None = None,
) -> Voice:
    """Remember a speaker's voice under this name; later transcripts then name it themselves.

    Without `speaker`, the transcript must have exactly one.
    """

    async def make() -> Voice:
        _, transcript = await jobs_service.transcript(context, user, job_id)
        model, vector = _voice_of(transcript, speaker)
        voice = Voice(
            id=VoiceId(new_id()),
            user_id=user.id,
            name=clean_speaker_name(name),
            model=model,
            vector=vector,
            created_at=now(),
        )
        await _add(context, voice, request)
        return voice

    async def recall(voice_id: UUID) -> Voice:
        found = [voice for voice in await voices_of(context, user) if voice.id == voice_id]
        if not found:
            raise _not_found()
        return found[0]

    return await idempotency.create_once(context, request, make, recall)


async def _add(context: Context, voice: Voice, request: Once | None) -> None:
    async with context.database.write() as transaction:
        await webhooks_table.lock_owner(transaction.connection, voice.user_id)
        if await table.count_of(transaction.connection, voice.user_id) >= MOST_VOICES:
            raise Conflict(
                "too_many_voices",
                f"There are {MOST_VOICES} voices already.",
                hint="Delete one that is not needed any more.",
            )
        await table.insert(transaction.connection, voice)
        await idempotency.record(transaction, request, voice.id)


def _not_found() -> NotFound:
    return NotFound("voice_not_found", "There is no such voice.")


def _voice_of(transcript: Transcript, speaker: str | None) -> tuple[str, tuple[float, ...]]:
    names = transcript.speakers
    if speaker is None and len(names) != 1:
        raise Invalid(
            "speaker_needed",
            f"The transcript has {len(names)} speakers; which of them is meant?",
            hint=f"Name one of: {', '.join(names)}." if names else "Use layout diarisation.",
        )
    chosen = names[0] if speaker is None else speaker
    if chosen not in names:
        raise _unknown_speaker(chosen, transcript)
    if transcript.voices is None or chosen not in transcript.voices.vectors:
        raise Conflict(
            "voice_unknown",
            f"Nothing is stored of what '{chosen}' sounds like.",
            hint="Transcribe the recording again with layout diarisation.",
        )
    return transcript.voices.model, transcript.voices.vectors[chosen]


async def voices_of(context: Context, user: User) -> list[Voice]:
    """The voices that a user enrolled."""
    async with context.database.read() as connection:
        return await table.of_user(connection, user.id)


async def forget(context: Context, user: User, voice_id: VoiceId) -> None:
    """Delete an enrolled voice; names that it gave stay."""
    async with context.database.write() as transaction:
        if not await table.delete(transaction.connection, voice_id, user.id):
            raise _not_found()


async def with_known_voices(
    context: Context, lease: Lease, transcript: Transcript
) -> Transcript:
    """A fresh transcript, its speakers named whose voices the job's owner enrolled."""
    if transcript.voices is None:
        return transcript
    async with context.database.read() as connection:
        job: Job | None = await jobs_table.get(connection, lease.job_id)
        known = await table.of_user(connection, job.user_id) if job else []
    return transcript.renamed(recognised(transcript.voices, known))
