"""E-mails through a real SMTP server: what they say, and what becomes of refusals."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import pytest

from rhapsode.domain.deliveries import (
    Delivery,
    DeliveryId,
    DeliveryKind,
    DeliveryState,
    Event,
)
from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import Job, JobState, Notify
from rhapsode.outbound.smtp import SmtpConfig
from rhapsode.services import mail
from rhapsode.services.channels import Outcome
from rhapsode.services.context import Context, now
from tests.database import rows
from tests.support.certificates import Certificate, self_signed
from tests.support.mail import PASSWORD, USER, Mailbox, mail_server
from tests.support.ports import free_port
from tests.support.server import App

UNTRUSTED = "The mail server's certificate is not trusted: self-signed certificate."


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with mail_server() as found:
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


def config(port: int, **changes: Any) -> SmtpConfig:
    given: dict[str, Any] = {
        "host": "localhost",
        "port": port,
        "sender": "rhapsode@example.org",
        "security": "none",
        "timeout_seconds": 5.0,
        **changes,
    }
    return SmtpConfig(**given)


def context_of(app: App, smtp: SmtpConfig, public_url: str | None = None) -> Context:
    rules = replace(app.context.rules, public_url=public_url)
    return replace(app.context, smtp=smtp, rules=rules)


async def ended_job(app: App, state: JobState = JobState.FINISHED, **changes: Any) -> Job:
    return await rows.make_job(
        app.context.database,
        user=app.admin,
        state=state,
        notify=Notify(email=True),
        **changes,
    )


def about(job: Job, event: Event = Event.FINISHED) -> Delivery:
    moment = now()
    return Delivery(
        id=DeliveryId(uuid4()),
        user_id=job.user_id,
        job_id=job.id,
        kind=DeliveryKind.EMAIL,
        subject=event,
        destination="mail",
        state=DeliveryState.PENDING,
        next_at=moment,
        created_at=moment,
    )


async def sent(app: App, smtp: SmtpConfig, **changes: Any) -> Outcome:
    """What one attempt with these settings came to."""
    job = await ended_job(app, **changes)
    return await mail.send(context_of(app, smtp), about(job))


def text_of(letter: EmailMessage) -> str:
    text: str = letter.get_content()
    return text.replace("\r\n", "\n")


async def test_a_letter_tells_its_owner_where_the_transcript_is(
    app: App, mailbox: Mailbox
) -> None:
    job = await ended_job(app, name="Grüße ☕.mp3")
    delivery = about(job)
    context = context_of(app, config(mailbox.port), "https://speech.example.org")

    outcome = await mail.send(context, delivery)

    (letter,) = mailbox.letters
    assert (outcome.state, outcome.status) == (DeliveryState.DELIVERED, 250)
    assert letter["Subject"] == "Transcribed: Grüße ☕.mp3"
    assert letter["To"] == app.admin.email
    assert letter["From"] == "Rhapsode <rhapsode@example.org>"
    assert letter["Message-ID"] == f"<{delivery.id}@example.org>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter.get_content_type() == "text/plain"
    text = text_of(letter)
    assert text.startswith('Your recording "Grüße ☕.mp3" is transcribed.\n')
    assert f"https://speech.example.org/#/jobs/{job.id}\n" in text


async def test_a_repeated_letter_can_be_known_for_one(app: App, mailbox: Mailbox) -> None:
    delivery = about(await ended_job(app))
    context = context_of(app, config(mailbox.port))

    await mail.send(context, delivery)
    await mail.send(context, delivery)

    first, second = mailbox.letters
    assert first["Message-ID"] == second["Message-ID"]


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        (Event.FINISHED, "Transcribed: talk.mp3"),
        (Event.FAILED, "Failed: talk.mp3"),
        (Event.EXPIRED, "Expired: talk.mp3"),
        (Event.CANCELED, "Canceled: talk.mp3"),
    ],
)
async def test_each_end_of_a_job_has_its_letter(
    app: App, mailbox: Mailbox, event: Event, subject: str
) -> None:
    job = await ended_job(app, name="talk.mp3")

    await mail.send(context_of(app, config(mailbox.port)), about(job, event))

    assert [letter["Subject"] for letter in mailbox.letters] == [subject]


async def test_a_failure_is_told_with_its_reason(app: App, mailbox: Mailbox) -> None:
    job = await ended_job(app, JobState.FAILED)
    columns = {"error_code": "engine_crashed", "error_message": "The engine\ncrashed."}
    await rows.set_job(app.context.database, job.id, **columns)

    await mail.send(context_of(app, config(mailbox.port)), about(job, Event.FAILED))

    assert "Reason: The engine crashed.\n" in text_of(mailbox.letters[0])


@pytest.mark.parametrize(
    "name",
    [
        "talk\r\nBcc: everybody@example.org",
        "talk\nBcc: everybody@example.org\n\nAnother body",
        "talk\r\n.\r\nMAIL FROM:<evil@example.org>",
        "talk\u2028Bcc: everybody@example.org",
        "x" * 200,
        "",
    ],
)
async def test_a_name_adds_no_header_and_no_receiver(
    app: App, mailbox: Mailbox, name: str
) -> None:
    job = await ended_job(app, name=name)

    await mail.send(context_of(app, config(mailbox.port)), about(job))

    (letter,), (envelope,) = mailbox.letters, mailbox.envelopes
    assert envelope.rcpt_tos == [app.admin.email]
    assert letter["Bcc"] is None
    assert "\n" not in letter["Subject"]
    assert letter["Subject"].startswith("Transcribed:")
    assert text_of(letter).startswith("Your recording")


async def test_an_address_of_two_is_no_way_to_a_second_receiver(
    app: App, mailbox: Mailbox
) -> None:
    user = await rows.make_user(app.context.database, email="a,b@example.org")
    job = await rows.make_job(app.context.database, user=user)

    outcome = await mail.send(context_of(app, config(mailbox.port)), about(job))

    assert outcome.state is DeliveryState.DEAD
    assert mailbox.asked == []


async def test_greylisting_is_met_with_patience(app: App, mailbox: Mailbox) -> None:
    mailbox.answers.append("451 4.7.1 Greylisted, come back later")
    delivery = about(await ended_job(app))
    context = context_of(app, config(mailbox.port))

    first = await mail.send(context, delivery)
    second = await mail.send(context, delivery)

    assert (first.state, first.status) == (DeliveryState.PENDING, 451)
    assert first.error == (
        "The mail server refuses the message: 451 4.7.1 Greylisted, come back later"
    )
    assert (second.state, len(mailbox.letters)) == (DeliveryState.DELIVERED, 1)


async def test_a_refusal_for_good_is_final(app: App, mailbox: Mailbox) -> None:
    mailbox.answers.append("550 5.1.1 No such person here")

    outcome = await sent(app, config(mailbox.port))

    assert (outcome.state, outcome.status) == (DeliveryState.DEAD, 550)
    assert outcome.error is not None
    assert outcome.error.endswith("550 5.1.1 No such person here")


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    app: App, certificate: Certificate
) -> None:
    async with mail_server(starttls=certificate.server_context()) as mailbox:
        outcome = await sent(app, config(mailbox.port, security="starttls"))

    assert outcome.state is DeliveryState.PENDING
    assert outcome.error == UNTRUSTED
    assert mailbox.letters == []


async def test_a_server_without_encryption_gets_nothing_where_it_is_wanted(
    app: App, mailbox: Mailbox
) -> None:
    outcome = await sent(
        app, config(mailbox.port, security="starttls", username=USER, password=PASSWORD)
    )

    assert outcome.state is DeliveryState.PENDING
    assert outcome.error is not None
    assert outcome.error.startswith("The mail server lacks what is needed")
    assert mailbox.letters == []


async def test_letters_leave_by_login_over_starttls(
    app: App, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))

    async with mail_server(starttls=certificate.server_context(), with_login=True) as mailbox:
        outcome = await sent(
            app, config(mailbox.port, security="starttls", username=USER, password=PASSWORD)
        )

    assert (outcome.state, len(mailbox.letters)) == (DeliveryState.DELIVERED, 1)


@pytest.mark.parametrize("trusted", [True, False])
async def test_letters_leave_over_tls_from_the_start_where_it_is_trusted(
    app: App, certificate: Certificate, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))

    async with mail_server(tls=certificate.server_context()) as mailbox:
        outcome = await sent(app, config(mailbox.port, security="tls"))

    told = None if trusted else UNTRUSTED
    assert (outcome.error, len(mailbox.letters)) == (told, int(trusted))


async def test_a_wrong_password_is_told_and_worth_another_try_once_it_is_mended(
    app: App, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with mail_server(starttls=certificate.server_context(), with_login=True) as mailbox:
        wanted = config(mailbox.port, security="starttls", username=USER, password="wrong-one")
        outcome = await sent(app, wanted)

    assert (outcome.state, outcome.status) == (DeliveryState.PENDING, 535)
    assert outcome.error is not None
    assert outcome.error.startswith("The mail server refuses the user name or the password")
    assert "wrong-one" not in outcome.error + repr(wanted)


async def test_nobody_there(app: App) -> None:
    outcome = await sent(app, config(free_port()))

    assert (outcome.state, outcome.status) == (DeliveryState.PENDING, None)
    assert outcome.error is not None
    assert outcome.error.startswith("The mail server cannot be reached")


async def test_a_server_that_says_nothing_is_left(app: App) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await sent(app, config(port, timeout_seconds=0.3))

    assert outcome.state is DeliveryState.PENDING
    assert outcome.error == "The mail server does not answer in time."


async def test_without_a_mail_server_no_job_can_ask_for_an_e_mail(app: App) -> None:
    with pytest.raises(Invalid) as refused:
        mail.ensure_enabled(app.context, Notify(email=True))

    mail.ensure_enabled(app.context, Notify())
    assert refused.value.code == "email_disabled"


async def test_a_mail_server_that_was_taken_away_ends_what_waits(app: App) -> None:
    outcome = await mail.send(app.context, about(await ended_job(app)))

    assert outcome.state is DeliveryState.DEAD
