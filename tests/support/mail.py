"""A real SMTP server (aiosmtpd) in this process, which can be told to refuse."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "rhapsode", "a secret of the mailbox"


@dataclass
class Mailbox:
    """What arrived, and what the server is to answer to the next receivers instead of 250."""

    port: int = 0
    answers: deque[str] = field(default_factory=deque)
    asked: list[str] = field(default_factory=list)
    letters: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 (the library's name)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        self.asked.append(address)
        if self.answers:
            return self.answers.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 (the library's name)
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self.envelopes.append(envelope)
        self.letters.append(
            cast("EmailMessage", message_from_bytes(envelope.content, policy=default))
        )
        return "250 Taken"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any
    ) -> AuthResult:
        fits = given == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=fits, handled=False)


@asynccontextmanager
async def mail_server(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    with_login: bool = False,
) -> AsyncIterator[Mailbox]:
    """A server on a port of its own for as long as the block runs."""
    mailbox, loop = Mailbox(), asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(
            mailbox,
            hostname="localhost",
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=with_login,
            authenticator=mailbox.authenticate if with_login else None,
            loop=loop,
        )

    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=tls)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
