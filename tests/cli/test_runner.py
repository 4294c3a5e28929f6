"""What `rhapsode runner` reads off its command line."""

import pytest

from rhapsode.cli.runner import networks
from rhapsode.domain.errors import Invalid


def test_networks_as_they_are_written() -> None:
    given = ["10.1.2.3/8", "192.168.1.7", "fd00::/8"]
    assert list(networks(given)) == ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]


@pytest.mark.parametrize("name", ["", "example.org", "10.0.0.0/33", "10.0.0.0-10.0.0.9"])
def test_what_is_no_network(name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        list(networks([name]))
    assert refusal.value.code == "network_invalid"
