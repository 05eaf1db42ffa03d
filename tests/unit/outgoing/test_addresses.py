from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.outgoing.addresses import is_public, literal, permitted


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.0.23",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.7",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "168.63.129.17",
        "172.15.255.255",
        "172.32.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public_addresses_may_be_reached(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_no_form_of_an_address_is_more_public_than_the_address(address: IPv4Address) -> None:
    for form in (f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{address.packed.hex(':', 2)}::1"):
        assert is_public(ip_address(form)) == is_public(address)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_python_calls_private_is_not_public(address: IPv4Address | IPv6Address) -> None:
    if any(address in network for network in CARRYING):
        return  # as public as the address they carry
    if address.is_private or address.is_multicast or address.is_reserved:
        assert not is_public(address)


CARRYING = [ip_network(text) for text in ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16")]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("example.com", None),
        ("2130706433", None),
        ("0x7f.1", None),
        ("127.1", None),
    ],
)
def test_a_host_is_an_address_only_in_its_plain_form(host: str, address: str | None) -> None:
    """The other forms are names, which are looked up, and what comes of that is checked."""
    found = literal(host)
    assert (None if found is None else str(found)) == address


def test_of_many_addresses_the_public_ones_remain() -> None:
    addresses = [ip_address(text) for text in ("10.0.0.1", "8.8.8.8", "::1", "1.1.1.1")]
    assert [str(address) for address in permitted(addresses, allow_private=False)] == ["8.8.8.8", "1.1.1.1"]
    assert permitted(addresses, allow_private=True) == addresses
