"""A guarded source for a URL: where it leads is resolved once, checked and pinned, whatever the protocol.

HTTP and HLS are fetched by us (``fetching``) and demuxed by FFmpeg, which may open nothing itself. RTMP is ours
(``rtmp``). RTSP goes over TCP through a forwarder to the pinned address. SRT is not in the FFmpeg that PyAV brings.
"""

import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import av
import httpcore
import httpx
from av.container import InputContainer
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rtcloud.ingest.pull.demuxing import OPEN_WITHIN, PROBE, READ_WITHIN, Demuxed
from rtcloud.ingest.pull.fetching import Budget, Fetch, Web
from rtcloud.ingest.pull.forwarding import Forwarder
from rtcloud.ingest.pull.playlists import END, MOST_BYTES, is_playlist, prepare
from rtcloud.ingest.pull.rtmp import open_rtmp, secured
from rtcloud.ingest.pull.source import Source, SourceError
from rtcloud.outgoing.dialing import AddressRefusedError, Dialer

#: what FFmpeg may take a file for, whatever it says it is
FORMATS = "flv,mp3,mov,mpegts,matroska,webm,hls,aac,ogg,wav,flac"
BUFFER_BYTES = 64 << 10
MOST_ENCRYPTED = 64 << 20
CONNECT_WITHIN = 5.0
RTSP_PORTS = {"rtsp": 554, "rtsps": 322}
_HLS = {
    "http_persistent": "0",
    "http_multiple": "0",
    "allowed_extensions": "ALL",
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
    "seg_format_options": f"format_whitelist={FORMATS}",
}


@dataclass(frozen=True)
class Guard:
    """Through which all connections of a job go."""

    dialer: Dialer
    ssl_context: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)


async def open_source(url: str, guard: Guard, from_us: int = 0) -> Source:
    """Ready to give packets, of what can be sought in from the last keyframe at or before ``from_us``. Raises
    ``SourceError``."""
    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError as error:
        raise SourceError("the address is not valid") from error
    if scheme in ("http", "https"):
        return await _begun(_WebSource(url, guard, from_us))
    if scheme in ("rtmp", "rtmps"):
        return await open_rtmp(url, guard.dialer, guard.ssl_context)
    if scheme in RTSP_PORTS:
        return await _open_rtsp(url, guard)
    raise SourceError("its protocol is not supported")


async def _begun(source: Demuxed) -> Source:
    try:
        await source.begin()
    except BaseException:
        await source.close()
        raise
    return source


# HTTP and HLS ---------------------------------------------------------------------------------------------------------


class _WebSource(Demuxed):
    def __init__(self, url: str, guard: Guard, from_us: int) -> None:
        self._url = url
        budget = Budget()
        self._web = Web(guard.dialer, budget, ssl_context=guard.ssl_context)
        super().__init__(self._open_container, budget, from_us)

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            await self._web.close()

    def _open_container(self, budget: Budget) -> InputContainer:
        first = self._web.open(self._url)
        is_hls = is_playlist(first.peek(16))
        return av.open(
            self._url,
            format="hls" if is_hls else None,
            options={"format_whitelist": FORMATS, "protocol_whitelist": "http", **PROBE},
            container_options=_HLS if is_hls else {},
            buffer_size=BUFFER_BYTES,
            timeout=(OPEN_WITHIN, READ_WITHIN),
            io_open=_Files(self._web, budget, self._url, first),
        )


class _Files:
    """``io_open`` for PyAV: what a file and its playlists may open. A file that cannot be had is an empty one, and the
    failure is noted: FFmpeg decides whether it can go on without, ``demuxing`` whether it may."""

    def __init__(self, web: Web, budget: Budget, url: str, first: Fetch) -> None:
        self._web, self._budget = web, budget
        self._first: dict[str, Fetch] = {url: first}

    def __call__(self, url: str, _flags: int, options: Mapping[str, str]) -> Any:
        try:
            plain = url.removeprefix("crypto+")
            if not plain.startswith(("http://", "https://")):
                raise SourceError("it leads to an address that is not HTTP")
            begin, end = int(options.get("offset", 0)), options.get("end_offset")
            fetch = self._first.pop(plain, None) or self._web.open(plain, begin, None if end is None else int(end))
            if plain != url:
                return _decrypted(fetch, options)
            if is_playlist(fetch.peek(16)):
                text = fetch.read_all(MOST_BYTES).decode("utf-8", "replace")
                fetch.close()
                self._budget.has_end |= END in text
                return io.BytesIO(prepare(text, fetch.url).encode())
            return fetch
        except SourceError as error:
            self._budget.note(error)
        except ValueError:
            self._budget.fail("a playlist or its key is not valid")
        return io.BytesIO()


def _decrypted(fetch: Fetch, options: Mapping[str, str]) -> io.BytesIO:
    """A segment with AES-128, as HLS has it."""
    key, iv = bytes.fromhex(options.get("key", "")), bytes.fromhex(options.get("iv", ""))
    data = fetch.read_all(MOST_ENCRYPTED)
    fetch.close()
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    plain = decryptor.update(data) + decryptor.finalize()
    return io.BytesIO(plain[: -plain[-1]] if plain and plain[-1] <= 16 else plain)


# RTSP -----------------------------------------------------------------------------------------------------------------


class _RtspSource(Demuxed):
    """FFmpeg speaks to a forwarder, over TCP alone: nothing else is on its list of protocols."""

    def __init__(self, forwarder: Forwarder, url: str) -> None:
        self._forwarder = forwarder
        options = {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,tcp", "allowed_media_types": "video+audio"}
        options["analyzeduration"] = "500000"  # what is to come was described
        super().__init__(lambda _: _opened(url, options, "rtsp"), Budget(), 0)

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            await self._forwarder.__aexit__()


async def _open_rtsp(url: str, guard: Guard) -> Source:
    parts = _parts(url)
    host = parts.hostname or ""
    try:
        stream = await guard.dialer.connect_tcp(host, parts.port or RTSP_PORTS[parts.scheme], CONNECT_WITHIN)
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise SourceError(_unreachable(error)) from None
    if parts.scheme == "rtsps":
        stream = await secured(stream, host, guard.ssl_context)
    forwarder = await Forwarder(stream).__aenter__()
    login, _, _ = parts.netloc.rpartition("@")
    place = f"{login}{'@' if login else ''}127.0.0.1:{forwarder.port}"
    return await _begun(_RtspSource(forwarder, parts._replace(scheme="rtsp", netloc=place).geturl()))


def _opened(url: str, options: dict[str, str], format: str) -> InputContainer:
    return av.open(url, format=format, options={**PROBE, **options}, timeout=(OPEN_WITHIN, READ_WITHIN))


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise SourceError("the address is not valid") from None
    return parts


def _unreachable(error: BaseException) -> str:
    is_private = AddressRefusedError in (type(error), type(error.__cause__))
    return "the address is private" if is_private else "the server cannot be reached"
