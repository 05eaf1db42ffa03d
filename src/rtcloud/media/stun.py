"""Asks STUN servers (RFC 8489) which address this machine is seen at: once, at the start, and not for long.

Whatever comes is judged as a stranger's: only an answer to the question just asked counts.
"""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import socket
from collections.abc import Sequence

_log = logging.getLogger(__name__)

#: How long one server is asked for, and when it is asked again meanwhile.
PATIENCE_S = 2.0
_AGAIN_S = 0.4
_COOKIE = 0x2112A442
_REQUEST, _RESPONSE = 0x0001, 0x0101
_MAPPED, _XOR_MAPPED = 0x0001, 0x0020


def request(transaction: bytes) -> bytes:
    """``transaction``: 12 bytes of chance."""
    return _REQUEST.to_bytes(2) + bytes(2) + _COOKIE.to_bytes(4) + transaction


def seen_address(datagram: bytes, transaction: bytes) -> str | None:
    """The address in the answer to a request; None if it is none."""
    head = _RESPONSE.to_bytes(2) + (len(datagram) - 20 & 0xFFFF).to_bytes(2) + _COOKIE.to_bytes(4) + transaction
    if len(datagram) < 20 or datagram[:20] != head:
        return None
    plain, rest = None, datagram[20:]
    while len(rest) >= 4:
        kind, length = int.from_bytes(rest[:2]), int.from_bytes(rest[2:4])
        value, rest = rest[4 : 4 + length], rest[4 + (length + 3 & ~3) :]
        size = {(1, 8): 4, (2, 20): 16}.get((value[1], len(value))) if len(value) >= 2 else None
        if size is None or kind not in (_MAPPED, _XOR_MAPPED):
            continue
        address = value[4:]
        if kind == _XOR_MAPPED:
            mask = datagram[4:20]
            return str(ipaddress.ip_address(bytes(a ^ b for a, b in zip(address, mask, strict=False))))
        plain = str(ipaddress.ip_address(address))
    return plain


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, transaction: bytes) -> None:
        self._transaction = transaction
        self.found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        address = seen_address(data, self._transaction)
        if address is not None and not self.found.done():
            self.found.set_result(address)

    def error_received(self, exc: Exception) -> None:
        """The port is closed; it is asked again, for a server may just be starting."""


async def ask(host: str, port: int, family: socket.AddressFamily) -> str:
    """Raises OSError or TimeoutError."""
    transaction = secrets.token_bytes(12)
    async with asyncio.timeout(PATIENCE_S):
        loop = asyncio.get_running_loop()
        transport, asking = await loop.create_datagram_endpoint(
            lambda: _Asking(transaction), remote_addr=(host, port), family=family
        )
        try:
            while True:
                transport.sendto(request(transaction))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_S):
                        return await asyncio.shield(asking.found)
        finally:
            asking.found.cancel()
            transport.close()


async def external_addresses(servers: Sequence[tuple[str, int]], families: Sequence[socket.AddressFamily]) -> list[str]:
    """For each family the address that the first server which answers sees."""
    found = []
    for family in families:
        for host, port in servers:
            try:
                address = await ask(host, port, family)
            except (OSError, TimeoutError) as error:
                reason = "no answer" if isinstance(error, TimeoutError) else str(error)
                _log.warning("a STUN server does not tell our address", extra={"server": host, "reason": reason})
            else:
                _log.info("a STUN server sees us", extra={"server": host, "address": address})
                found.append(address)
                break
    return found
