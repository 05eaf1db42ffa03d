"""A picture's bytes from an address that a stranger gave: bounded in bytes, time and tries, and held to public networks
by the dialer. Redirects are not followed: the address itself is what was accepted.

The documents give a download 10 s and three tries; here all tries share the 10 s, since a caller waits for them.
"""

import asyncio
import ssl
from collections.abc import Sequence

import httpx

from rtcloud.outgoing.dialing import AddressRefusedError, Dialer
from rtcloud.outgoing.transport import AnswerTooLargeError, GuardedTransport, read_bounded
from rtcloud.watermarks.image import FETCHED

TOTAL_SECONDS = 10.0
SILENT_SECONDS = 4.0  # without a byte, after which a try is given up
PAUSES = (0.2, 0.8)  # before the second and third try
MAX_URL = 2048
AT_ONCE = 8
_TRY_AGAIN = frozenset((408, 425, 429))


class ImageError(ValueError):
    """There is no such picture, or it cannot be shown. The message says why and fits behind the name of a field: it is
    a sentence without its subject ("is not a whole PNG …")."""


class Fetcher:
    def __init__(
        self,
        dialer: Dialer,
        *,
        ssl_context: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """``transport``: instead of the network."""
        self._client = httpx.AsyncClient(
            transport=transport or GuardedTransport(dialer, ssl_context=ssl_context, max_connections=AT_ONCE),
            timeout=httpx.Timeout(SILENT_SECONDS, pool=TOTAL_SECONDS),
            headers={"User-Agent": "rtcloud", "Accept": "image/*", "Accept-Encoding": "identity"},
            trust_env=False,
            follow_redirects=False,
        )
        self._pauses = pauses

    async def fetch(self, url: str) -> bytes:
        """Raises ImageError."""
        target = _checked(url)
        last = ImageError("could not be fetched")
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                for pause in (*self._pauses, None):
                    try:
                        return await self._try(target)
                    except _PassingError as error:
                        last = ImageError(str(error))
                    if pause is not None:
                        await asyncio.sleep(pause)
        except TimeoutError:
            last = ImageError(f"could not be fetched within {TOTAL_SECONDS:.0f} s")
        raise last

    async def close(self) -> None:
        await self._client.aclose()

    async def _try(self, target: httpx.URL) -> bytes:
        try:
            async with self._client.stream("GET", target) as answer:
                status = answer.status_code
                if status >= 500 or status in _TRY_AGAIN:
                    raise _PassingError(f"could not be fetched: the server answers HTTP status {status}")
                if answer.is_redirect:
                    raise ImageError(f"leads elsewhere (HTTP status {status}), which is not followed")
                if status != httpx.codes.OK:
                    raise ImageError(f"could not be fetched: the server answers HTTP status {status}")
                return await read_bounded(answer, FETCHED.max_bytes)
        except AnswerTooLargeError:
            raise ImageError(f"has more than {FETCHED.max_bytes} bytes") from None
        except httpx.DecodingError:
            raise ImageError("comes compressed, which was not asked for") from None
        except httpx.TransportError as error:
            if _is_refused(error):
                raise ImageError("leads into a private network") from None
            raise _PassingError(f"could not be fetched: {_meaning(error)}") from None


class _PassingError(Exception):
    """Another try may do better."""


def _checked(url: str) -> httpx.URL:
    if len(url) > MAX_URL:
        raise ImageError(f"has an address of more than {MAX_URL} characters")
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ImageError("has an address that is no URL") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise ImageError("has an address that is not http:// or https://")
    if target.userinfo:
        raise ImageError("has an address with a user name, which is not sent")
    return target


def _is_refused(error: BaseException | None) -> bool:
    """Whether the dialer refused the address, however many errors that became."""
    while error is not None:
        if isinstance(error, AddressRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _meaning(error: httpx.TransportError) -> str:
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return "no connection in time"
        case httpx.TimeoutException():
            return "the server is silent"
        case httpx.ConnectError():
            return "no connection"
    return "the connection broke"
