"""/api/jobs/{id}/speakers and /api/voices: what speakers are called, now and later."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from rhapsode.api.bodies import Answer, Asked
from rhapsode.api.deps import Ctx, CurrentUser, IdempotencyKey
from rhapsode.api.errors import problems
from rhapsode.domain.jobs import JobId
from rhapsode.domain.speakers import MAX_SPEAKERS
from rhapsode.domain.voices import MAX_NAME_CHARACTERS, VoiceId
from rhapsode.services import speakers
from rhapsode.services.idempotency import once

router = APIRouter(tags=["speakers"], responses=problems(401, 403, 503))

SpeakerName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


class SpeakerBody(Answer):
    """A speaker of a transcript: seconds of speech, and whether the voice can be enrolled."""

    name: str
    seconds: float
    can_enrol: bool


class SpeakersBody(Answer):
    """The speakers of a transcript, in the order in which they first speak."""

    items: list[SpeakerBody]


class Names(Asked):
    """New names by the old ones; who is not named keeps theirs."""

    names: Annotated[
        dict[SpeakerName, SpeakerName], Field(min_length=1, max_length=MAX_SPEAKERS)
    ] = Field(examples=[{"Speaker 1": "Anna"}])


class NewVoice(Asked):
    """A name for the voice of a transcript's speaker, where there are several of them."""

    name: SpeakerName
    job_id: UUID
    speaker: SpeakerName | None = None


class VoiceBody(Answer):
    """An enrolled voice, without what it sounds like."""

    id: UUID
    name: str
    model: str
    created_at: datetime


class VoicesBody(Answer):
    """The voices that one enrolled, by name."""

    items: list[VoiceBody]


@router.get("/jobs/{job_id}/speakers", responses=problems(404, 409, 422))
async def of_job(context: Ctx, user: CurrentUser, job_id: UUID) -> SpeakersBody:
    """The speakers of a transcript; none where they were not told apart."""
    found = await speakers.of_job(context, user, JobId(job_id))
    return SpeakersBody(items=[SpeakerBody.model_validate(item) for item in found])


@router.patch("/jobs/{job_id}/speakers", responses=problems(404, 409, 422))
async def rename(context: Ctx, user: CurrentUser, job_id: UUID, asked: Names) -> SpeakersBody:
    """Call speakers by other names, in every format; two of one name become one."""
    found = await speakers.rename(context, user, JobId(job_id), asked.names)
    return SpeakersBody(items=[SpeakerBody.model_validate(item) for item in found])


@router.get("/voices")
async def voices(context: Ctx, user: CurrentUser) -> VoicesBody:
    """The voices that one enrolled."""
    found = await speakers.voices_of(context, user)
    return VoicesBody(items=[VoiceBody.model_validate(item) for item in found])


@router.post("/voices", status_code=201, responses=problems(404, 409, 422))
async def enrol(
    context: Ctx, user: CurrentUser, asked: NewVoice, idempotency_key: IdempotencyKey = None
) -> VoiceBody:
    """Remember the voice of a transcript's speaker: later transcripts name it themselves."""
    wanted = once(user.id, idempotency_key, "POST voices", asked.model_dump_json())
    made = await speakers.enrol(
        context, user, asked.name, JobId(asked.job_id), asked.speaker, request=wanted
    )
    return VoiceBody.model_validate(made)


@router.delete("/voices/{voice_id}", status_code=204, responses=problems(404, 422))
async def forget(context: Ctx, user: CurrentUser, voice_id: UUID) -> None:
    """Delete an enrolled voice and what it sounds like; names that it gave stay."""
    await speakers.forget(context, user, VoiceId(voice_id))
