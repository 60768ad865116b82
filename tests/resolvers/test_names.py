"""Which addresses are those of the public internet, in all the ways in which an IPv4 address can be written as another."""

import pytest

from resolvers.transport.names import is_public

PRIVATE = """
    127.0.0.1 127.9.9.9 0.0.0.0 10.0.0.7 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 192.0.2.1 224.0.0.1 240.0.0.1 255.255.255.255
    :: ::1 fe80::1 fe80::1%eth0 fc00::1 fd12::1 ff02::1 2001:db8::1
    ::ffff:127.0.0.1 ::ffff:10.0.0.7 ::ffff:a9fe:a9fe ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.0.0.7 2002:7f00:1::1 2002:a00:7::
"""
PUBLIC = "8.8.8.8 93.184.216.34 172.32.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_an_address_that_the_internet_does_not_lead_to_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_any_other_address_is_public(address: str) -> None:
    assert is_public(address)
