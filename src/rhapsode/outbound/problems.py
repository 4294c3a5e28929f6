"""What can go wrong with a request to an address that a user named."""

from rhapsode.domain.errors import Denied, Invalid, Limited, Unavailable


class Refused(Denied):
    """The address is one that this installation does not speak to; no use to try again."""


class Unreachable(Unavailable):
    """There was no connection, or it broke, or nobody answered in time."""


class TooManyRedirects(Limited):
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
