"""From which addresses an account may be used. Pure.

A denied network wins over an allowed one; with allowed networks, everything else is denied. IPv4 addresses that arrive
inside IPv6 ones (``::ffff:192.0.2.1``) are IPv4 addresses.
"""

import functools
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from rtcloud.accounts.entities import AccountSettings
from rtcloud.errors import ServiceError


def may_call(settings: AccountSettings, client_address: str) -> None:
    """Raises ServiceError ``IpInBlacklist`` or ``IpNotInWhitelist``."""
    if not settings.denied_networks and not settings.allowed_networks:
        return
    address = _address(client_address)
    if address is None:  # a local socket has none
        if settings.allowed_networks:
            raise ServiceError(
                "IpNotInWhitelist", "the caller's address is unknown, and only some networks are allowed"
            )
        return
    if _contain(settings.denied_networks, address):
        raise ServiceError("IpInBlacklist", f"{address} is in a network that the account denies")
    if settings.allowed_networks and not _contain(settings.allowed_networks, address):
        raise ServiceError("IpNotInWhitelist", f"{address} is in no network that the account allows")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])  # without the zone of a link-local one
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _contain(networks: tuple[str, ...], address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _parsed(networks))


@functools.lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in networks)
