"""Which addresses may be spoken to."""

import pytest

from rhapsode.outbound.guard import Policy

LOOPBACK = "a loopback address"
PRIVATE = "a private address"
METADATA = "a link-local or metadata address"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("8.8.8.8", None),
        ("2606:4700::1111", None),
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.254", LOOPBACK),
        ("::1", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::127.0.0.1", "a reserved address"),
        ("10.1.2.3", PRIVATE),
        ("172.16.0.1", PRIVATE),
        ("172.31.255.255", PRIVATE),
        ("172.32.0.1", None),
        ("192.168.1.1", PRIVATE),
        ("::ffff:192.168.1.1", PRIVATE),
        ("fd00:ec2::254", PRIVATE),
        ("fec0::1", PRIVATE),
        ("169.254.169.254", METADATA),
        ("::ffff:a9fe:a9fe", METADATA),
        ("168.63.129.16", "a cloud's metadata service"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("100.64.0.1", "an address behind a carrier's NAT"),
        ("100.100.100.200", "an address behind a carrier's NAT"),
        ("100.128.0.1", None),
        ("0.0.0.0", "an unspecified address"),
        ("::", "an unspecified address"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("255.255.255.255", "a reserved address"),
        ("240.0.0.1", "a reserved address"),
        ("192.0.2.1", "a reserved address"),
        ("192.0.0.192", "a reserved address"),
        ("198.18.0.1", "a reserved address"),
        ("2001:db8::1", "a reserved address"),
        ("64:ff9b::7f00:1", LOOPBACK),
        ("64:ff9b::a9fe:a9fe", METADATA),
        ("64:ff9b::808:808", None),
        ("64:ff9b:1::808:808", "a reserved address"),
        ("2002:7f00:1::1", LOOPBACK),
        ("2002:c0a8:101::1", PRIVATE),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a reserved address"),
        ("100::1", "a reserved address"),
        ("5f00::1", "a reserved address"),
    ],
)
def test_only_public_addresses(address: str, words: str | None) -> None:
    assert Policy().refusal(address) == words


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.1.2.3", None),
        ("10.2.0.1", PRIVATE),
        ("::ffff:10.1.2.3", None),
        ("64:ff9b::a01:203", None),
        ("fd12::1", None),
        ("fd13::1", PRIVATE),
        ("127.0.0.1", LOOPBACK),
        ("8.8.8.8", None),
    ],
)
def test_settings_open_networks(address: str, words: str | None) -> None:
    assert Policy(("10.1.0.0/16", "fd12::/16")).refusal(address) == words
