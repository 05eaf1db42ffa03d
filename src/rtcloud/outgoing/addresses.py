"""Which addresses a request may go to when its URL came from outside. Pure.

Everything that is not plainly the public Internet is refused: private, loopback and link-local networks (the metadata
services of clouds are there), multicast, reserved ranges, and IPv6 forms that carry such an IPv4 address.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IpAddress = IPv4Address | IPv6Address

# IANA's special-purpose registries: what they call not globally reachable, and what never names one machine.
_REFUSED_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's own service, although the address is public
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_PUBLIC_6 = IPv6Network("2000::/3")
_REFUSED_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo carries IPv4 addresses
            "2001:db8::/32",
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
_6TO4 = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: IpAddress) -> bool:
    """Whether the address belongs to the public Internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    if address in _6TO4:
        return is_public(IPv4Address(address.packed[2:6]))
    return address in _PUBLIC_6 and not any(address in network for network in _REFUSED_6)


def literal(host: str) -> IpAddress | None:
    """The address that a URL's host is; None when it is a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def permitted(addresses: Sequence[IpAddress], *, allow_private: bool) -> list[IpAddress]:
    """Those of a name's addresses that may be connected to, in their order."""
    return [address for address in addresses if allow_private or is_public(address)]
