"""E-mails: the channel by which a job's owner is told of its end."""

import time
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import structlog

from rhapsode.database import jobs as jobs_table
from rhapsode.database import users as users_table
from rhapsode.domain.deliveries import Delivery, DeliveryState, Event
from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import Job, Notify
from rhapsode.domain.users import User
from rhapsode.outbound import smtp
from rhapsode.outbound.smtp import NotSent, SmtpConfig
from rhapsode.services.channels import Outcome, dead, delivered
from rhapsode.services.context import Context, now

log = structlog.get_logger(__name__)

_SUBJECTS = {
    Event.FINISHED: "Transcribed",
    Event.FAILED: "Failed",
    Event.EXPIRED: "Expired",
    Event.CANCELED: "Canceled",
}
_SENTENCES = {
    Event.FINISHED: "is transcribed.",
    Event.FAILED: "could not be transcribed, or its transcript not be delivered.",
    Event.EXPIRED: "needs fresh URLs: one that came with it stopped working.",
    Event.CANCELED: "is not going to be transcribed: its job was canceled.",
}
_MOST_NAME_CHARACTERS = 120


def ensure_enabled(context: Context, notify: Notify) -> None:
    """Invalid where a job asks for an e-mail and the server cannot send any."""
    if notify.email and context.smtp is None:
        raise Invalid(
            "email_disabled",
            "This server sends no e-mails, so a job cannot ask for one.",
            hint="Leave out notify.email, or have the operator set email.host.",
        )


async def send(context: Context, delivery: Delivery) -> Outcome:
    """One attempt to tell a job's owner by e-mail of what happened to it."""
    if context.smtp is None:
        return dead("This server sends no e-mails any more (setting email.host).")
    found = await _about(context, delivery)
    if found is None:
        return dead("The job or its owner is gone.")
    job, user = found
    try:
        letter = compose(context.smtp, delivery, job, user, context.rules.public_url)
    except (ValueError, MessageError) as error:
        return dead(f"The address {user.email} cannot stand in an e-mail: {error}.")
    return await _sent(context.smtp, letter, user.email)


async def _about(context: Context, delivery: Delivery) -> tuple[Job, User] | None:
    if delivery.job_id is None:
        return None
    async with context.database.read() as connection:
        job = await jobs_table.get(connection, delivery.job_id)
        user = await users_table.get(connection, delivery.user_id)
    return None if job is None or user is None else (job, user)


async def _sent(config: SmtpConfig, letter: EmailMessage, recipient: str) -> Outcome:
    started = time.monotonic()
    try:
        await smtp.send(config, letter, recipient)
    except NotSent as error:
        log.warning("mail.not_sent", status=error.status, reason=error.reason)
        return Outcome(
            state=DeliveryState.DEAD if error.permanent else DeliveryState.PENDING,
            status=error.status,
            latency=time.monotonic() - started,
            error=error.reason,
        )
    return delivered(250, time.monotonic() - started)


def compose(
    config: SmtpConfig, delivery: Delivery, job: Job, user: User, public_url: str | None
) -> EmailMessage:
    """The letter; ValueError where the owner's address cannot stand in a header.

    Its Message-ID is made of the delivery's id, so a repetition is known for one.
    """
    event = Event(delivery.subject)
    letter = EmailMessage(policy=SMTP)
    letter["From"] = Address("Rhapsode", addr_spec=config.sender)
    letter["To"] = Address(addr_spec=user.email)
    letter["Subject"] = f"{_SUBJECTS[event]}: {_one_line(job.name)}"
    letter["Date"] = format_datetime(now())
    letter["Message-ID"] = f"<{delivery.id}@{config.sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(_text(event, job, public_url))
    return letter


def _one_line(name: str) -> str:
    """A name that cannot begin a header of its own, nor fill the screen."""
    text = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if len(text) <= _MOST_NAME_CHARACTERS:
        return text
    return text[: _MOST_NAME_CHARACTERS - 1] + "…"


def _text(event: Event, job: Job, public_url: str | None) -> str:
    lines = [f'Your recording "{_one_line(job.name)}" {_SENTENCES[event]}', ""]
    lines += [f"{label}: {value}" for label, value in _facts(job) if value]
    if public_url is not None:
        lines += ["", f"{public_url}/#/jobs/{job.id}"]
    lines += ["", "This was sent because the job asked for an e-mail at its end.", ""]
    return "\n".join(lines)


def _facts(job: Job) -> list[tuple[str, str]]:
    return [
        ("Job", str(job.id)),
        ("Language", job.language or ""),
        ("Ended", _moment(job.finished_at)),
        ("Reason", _one_line(job.error.message) if job.error else ""),
    ]


def _moment(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else ""
