"""Which addresses may be spoken to on a user's behalf.

Without this, a URL in a job could read the cloud's metadata service, a database on
loopback, or a printer in the operator's own network, with the operator's own rights.
"""

import socket
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address

# By name and not by `is_global`, whose opinion differs between versions of Python.
_NOT_PUBLIC: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "an address behind a carrier's NAT"),
    ("127.0.0.0/8", "a loopback address"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("169.254.0.0/16", "a link-local or metadata address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "a reserved address"),
    ("192.88.99.0/24", "a reserved address"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "a reserved address"),
    ("198.51.100.0/24", "a reserved address"),
    ("203.0.113.0/24", "a reserved address"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "an unspecified address"),
    ("::1/128", "a loopback address"),
    ("2001::/23", "a reserved address"),  # Teredo among them
    ("2001:db8::/32", "a reserved address"),
    ("3fff::/20", "a reserved address"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a private address"),
    ("ff00::/8", "a multicast address"),
)
_REFUSED = tuple((ip_network(network), words) for network, words in _NOT_PUBLIC)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


@dataclass(frozen=True, slots=True)
class Policy:
    """Public addresses, and `allow_networks` beside them, as in `10.0.0.0/8`."""

    allow_networks: tuple[str, ...] = ()

    def refusal(self, address: str) -> str | None:
        """What speaks against this numeric address, in words; None if nothing does.

        The words leave the address out: whoever asks must not learn what names mean inside.
        """
        return self._refusal(ip_address(address))

    def refusal_of_host(self, host: str) -> str | None:
        """The same for a URL's host, as far as it can be told without asking the DNS."""
        address = _written_out(host)
        return None if address is None else self._refusal(address)

    def _refusal(self, address: Address) -> str | None:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            return self._refusal(address.ipv4_mapped)  # the same address in other clothes
        if any(_within(address, network) for network in _networks(self.allow_networks)):
            return None
        for network, words in _REFUSED:
            if _within(address, network):
                return words
        return self._refusal_of_v6(address) if isinstance(address, IPv6Address) else None

    def _refusal_of_v6(self, address: IPv6Address) -> str | None:
        """A gateway may pass on to the IPv4 address that some IPv6 addresses carry."""
        if (carried := _carried(address)) is not None:
            return self._refusal(carried)
        if address not in _GLOBAL_UNICAST:
            return "a reserved address"
        return None


def _written_out(host: str) -> Address | None:
    """The address that a host names by number, also as `127.1`, `0x7f.1` or `2130706433`."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(name))
    except (OSError, UnicodeError):
        return None


@lru_cache(maxsize=64)
def _networks(names: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(name, strict=False) for name in names)


def _within(address: Address, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version and address in network


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address within a NAT64 or 6to4 address."""
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return None
