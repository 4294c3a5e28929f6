"""What can go wrong with a request to an address that a user named."""

from rhapsode.domain.errors import Denied, Invalid, NotFound, Unavailable


class Refused(Denied):
    """The address is one that this installation does not speak to; no use to try again."""


class Unreachable(Unavailable):
    """There was no connection, or it broke, or nobody answered in time."""


class TooManyRedirects(Invalid):
    """The URL leads from one address to the next without an end."""


class BadRedirect(Invalid):
    """The answer leads to something that is no web address, or not a safe one."""


def refused(url: str, why: str) -> Refused:
    """The refusal of an address, with the setting that would open it. `url` as it is shown."""
    return Refused(
        "address_refused",
        f"{url} leads to {why}, which is not spoken to.",
        hint="Use a public address, or have the operator allow its network with the setting "
        "outbound.allow_networks (of a runner: --allow-network).",
    )


def unreachable(url: str, reason: str) -> Unreachable:
    """The failure of a connection. `url` as it is shown."""
    return Unreachable(
        "address_unreachable",
        f"{url} cannot be reached: {reason}.",
        hint="Check that the URL works from the machine that opens it.",
    )


class NoSuchHost(Unreachable):
    """The name means nothing to anybody: to ask again and again is of little use."""


class Expired(NotFound):
    """The URL does not work any more; a fresh one is needed."""


class Busy(Unavailable):
    """The server asks to come back later, after `wait` seconds where it says so."""

    def __init__(
        self, code: str, message: str, *, hint: str | None = None, wait: float | None = None
    ) -> None:
        super().__init__(code, message, hint=hint)
        self.wait = wait


class Stalled(Unavailable):
    """The bytes come too slowly to be worth waiting for."""
