"""``rtcloud doctor``: what would keep a server from working on this machine."""

import asyncio
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rtcloud.clock import SystemClock
from rtcloud.config import Config, StorageSetting, local_addresses, media_places
from rtcloud.errors import ConfigError
from rtcloud.tls import Certificate

#: Recordings of an hour at the default bitrate, several at once.
FREE_BYTES = 5 << 30
STORE_SECONDS = 5.0
CODECS = (("libx264", "w"), ("h264", "r"), ("libvpx", "w"), ("vp8", "r"), ("libopus", "w"), ("opus", "r"), ("aac", "w"))


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    ok: bool
    found: str


def examine(config: Config) -> list[Finding]:
    checks: tuple[Callable[[Config], Iterator[Finding]], ...] = (
        _python,
        _directory,
        _ports,
        _addresses,
        _certificate,
        _stores,
        _engine,
        _codecs,
        _limits,
    )
    return [finding for check in checks for finding in check(config)]


def _python(_config: Config) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), f"{version}, needed is 3.11 or later")


def _directory(config: Config) -> Iterator[Finding]:
    directory = config.directory.resolve()
    existing = next((p for p in (directory, *directory.parents) if p.exists()), Path("/"))
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    yield Finding("data directory", writable, f"{directory} is {'' if writable else 'not '}writable")
    free, reserve = shutil.disk_usage(existing).free, config.disk_reserve << 20
    found = f"{free / (1 << 30):.1f} GiB free under {existing}, of which {reserve / (1 << 30):.1f} are kept back"
    yield Finding("disk space", free >= FREE_BYTES + reserve, found)


def _ports(config: Config) -> Iterator[Finding]:
    wanted = [("API port", socket.SOCK_STREAM, *config.listen_address)]
    for host, number in media_places(config, config.listen_address[0]):
        wanted.append(("media port", socket.SOCK_DGRAM, host, number))
        if config.media_tcp:
            wanted.append(("media port, TCP", socket.SOCK_STREAM, host, number))
    for name, kind, host, number in wanted:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
            try:
                probe.bind((host, number))
                yield Finding(name, True, f"{host}:{number} is free")
            except OSError as error:
                yield Finding(name, False, f"{host}:{number}: {error.strerror}")


def _addresses(config: Config) -> Iterator[Finding]:
    places = media_places(config, config.listen_address[0])
    given = list(config.media_addresses) or [each for host, _ in places for each in local_addresses(host)]
    public = any(not ipaddress.ip_address(address).is_loopback for address in given)
    note = "" if public else "; only this machine can join: set media_addresses"
    if config.media_stun and not config.media_addresses:
        note = ", and the one that a STUN server sees"
    yield Finding("media addresses", True, f"{', '.join(given)} are given to clients{note}")


def _certificate(config: Config) -> Iterator[Finding]:
    if not config.tls_cert:
        return
    certificate = Certificate(Path(config.tls_cert), Path(config.tls_key))
    try:
        certificate.context()
        days = certificate.days_left(SystemClock().now_ms())
    except ConfigError as error:
        yield Finding("certificate", False, str(error))
    else:
        note = "has expired" if days < 0 else f"is good for {days} more days"
        yield Finding("certificate", days >= 0, f"{config.tls_cert} {note}")


def _stores(config: Config) -> Iterator[Finding]:
    for setting in config.storage:
        if setting.access_key and "{region}" not in setting.endpoint:
            yield _asked(setting)
            continue
        if "{" in setting.endpoint:
            yield Finding("store", True, f"{setting.endpoint} depends on the request: not asked")
            continue
        parts = urlsplit(setting.endpoint)
        address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection(address, STORE_SECONDS).close()
            yield Finding("store", True, f"{setting.endpoint} answers")
        except OSError as error:
            yield Finding("store", False, f"{setting.endpoint}: {error.strerror or error}")


def _asked(setting: StorageSetting) -> Finding:
    """With keys of the operator's the whole way can be tried: a small object is put into the bucket, and removed."""
    from rtcloud.egress.storage import set_store
    from rtcloud.store.objects import StorageError

    try:
        asyncio.run(set_store(setting).probe([setting.bucket]))
    except StorageError as error:
        return Finding("store", False, f"bucket {setting.bucket} at {setting.endpoint}: {error}")
    return Finding("store", True, f"bucket {setting.bucket} at {setting.endpoint} takes files")


def _engine(_config: Config) -> Iterator[Finding]:
    try:
        import rtcloud.media.native  # its import compares the versions of both halves
    except ImportError as error:
        yield Finding("media engine", False, f"{error}; build it with `make setup`")
    else:
        yield Finding("media engine", True, f"version {rtcloud.__version__}")


def _codecs(_config: Config) -> Iterator[Finding]:
    try:
        import av
    except ImportError as error:
        yield Finding("codecs", False, str(error))
        return
    missing = []
    for name, mode in CODECS:
        try:
            av.codec.Codec(name, mode)  # type: ignore[arg-type]
        except (av.error.FFmpegError, ValueError):
            missing.append(name)
    found = f"missing: {', '.join(missing)}" if missing else f"PyAV {av.__version__} has all that recordings need"
    yield Finding("codecs", not missing, found)


def _limits(_config: Config) -> Iterator[Finding]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding("open files", hard >= 4096, f"{soft} now, up to {hard}")
    try:
        size = int(Path("/proc/sys/net/core/rmem_max").read_text())
    except OSError:
        return
    note = "" if size >= 1 << 20 else "; big rooms want net.core.rmem_max of 1048576 or more"
    yield Finding("socket buffer", True, f"{size} bytes at most{note}")
