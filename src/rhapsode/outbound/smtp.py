"""E-mails by SMTP: one message to one person, within bounded time.

The server is the operator's choice, so its address is not checked as those are that users name.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal

import aiosmtplib
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

_STEPS = 8
"""Exchanges of one message; each may take the time-out, and all of them this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig:
    """How e-mails leave; `timeout_seconds` is for each exchange with the server."""

    host: str
    port: int
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_seconds: float = 30.0


class NotSent(Exception):
    """The message was not accepted; `status` is the server's code, None without an answer.

    `permanent` says that the server refused this message or its receiver for good.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, permanent: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.permanent = permanent


async def send(config: SmtpConfig, message: EmailMessage, recipient: str) -> str:
    """Hand a message over; what the server said to it. NotSent where it did not take it."""
    try:
        async with asyncio.timeout(config.timeout_seconds * _STEPS):
            return await _send(config, message, recipient)
    except SMTPAuthenticationError as error:
        # The settings are wrong, not the message: it may leave once they are mended.
        raise _not_sent(error, "refuses the user name or the password") from error
    except SMTPRecipientsRefused as error:
        raise _refused(error.recipients[0]) from error
    except SMTPResponseException as error:
        raise _refused(error) from error
    except ssl.SSLError as error:
        raise NotSent(_tls_reason(error)) from error
    except (TimeoutError, SMTPException, OSError) as error:
        raise _other(error) from error


async def _send(config: SmtpConfig, message: EmailMessage, recipient: str) -> str:
    _, answer = await aiosmtplib.send(
        message,
        sender=config.sender,
        recipients=[recipient],
        hostname=config.host,
        port=config.port,
        username=config.username,
        password=config.password,
        use_tls=config.security == "tls",
        start_tls=config.security == "starttls",
        timeout=config.timeout_seconds,
        local_hostname=socket.gethostname(),  # its default asks the DNS, which can take long
    )
    return answer


def _refused(error: SMTPResponseException) -> NotSent:
    permanent = 500 <= error.code < 600
    return _not_sent(error, "refuses the message", permanent=permanent)


def _not_sent(error: SMTPResponseException, what: str, *, permanent: bool = False) -> NotSent:
    said = " ".join(str(error.message).split())[:300]
    reason = f"The mail server {what}: {error.code} {said}".rstrip()
    return NotSent(reason, status=error.code, permanent=permanent)


def _other(error: BaseException) -> NotSent:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError):
        return NotSent(_tls_reason(cause))
    if isinstance(error, TimeoutError):
        return NotSent("The mail server does not answer in time.")
    if isinstance(error, OSError):
        return NotSent(f"The mail server cannot be reached: {_cause(error)}.")
    return NotSent(f"The mail server lacks what is needed: {_cause(error)}.")


def _cause(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The mail server's certificate is not trusted: {error.verify_message}."
    return f"The mail server's TLS fails: {error.reason or type(error).__name__}."
