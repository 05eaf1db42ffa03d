"""Every setting of ``rtcloud serve``, declared once: the file, the environment and the flags follow from ``Config``.

A flag wins over ``RTCLOUD_…`` in the environment, which wins over the file (TOML), which wins over the default.
A value that cannot be used is a ``ConfigError`` that names the key and where it was given.
"""

import argparse
import ipaddress
import math
import os
import re
import socket
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from rtcloud.errors import ConfigError

#: Keys that only the file can give.
TABLES = ("callbacks", "limits", "storage")
ROLES = ("api", "signal", "media", "sender", "worker")
_PUBLIC = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9._{}-]+(:[0-9]{1,5})?/?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?/?")
_STUN_SERVER = re.compile(r"stun:([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_TURN_URL = re.compile(r"turns?:[A-Za-z0-9.:?=\[\]_-]+")
#: No part may hold what would end a quoted string of a header.
_ICE_SERVER = re.compile(r"(stun|turn)s?:[A-Za-z0-9.:?=\[\]_-]+( [!#-\[\]-~]+ [!#-\[\]-~]+)?")


class CallbackSetting(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[[callbacks]]`` in the file: where an application's events go. Applied at each start."""

    url: Annotated[str, Meta(description="http or https address")]
    key: Annotated[str, Meta(description="signs the events; at most 32 letters and digits")] = ""
    groups: Annotated[
        tuple[int, ...], Meta(description="event groups: 1 room, 2 media, 3 recording, 4 relay, 7 ingest")
    ] = (1, 2, 3, 4, 7)
    events: Annotated[tuple[int, ...], Meta(description="event types that are wanted; empty: all of the groups")] = ()
    sdk_app_id: Annotated[int, Meta(description="0: the first application")] = 0


class StorageSetting(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[[storage]]`` in the file: the S3 server that keeps a bucket, or all buckets of a vendor, of the API's
    requests. Without one, and without an ``EndpointUrl``, files stay below ``data``."""

    endpoint: Annotated[
        str, Meta(description="http or https address of the server; {region} and {bucket} stand for the request's")
    ]
    vendor: Annotated[str, Meta(description="cos or aws: of requests with that Vendor; empty: of both")] = ""
    bucket: Annotated[str, Meta(description="of this bucket; empty: of every one without a setting of its own")] = ""
    region: Annotated[str, Meta(description="the region that requests are signed for; empty: the request's")] = ""
    path_style: Annotated[bool, Meta(description="the bucket's name is in the path; false: endpoint has it")] = True
    access_key: Annotated[str, Meta(description="of a named bucket, used instead of the request's keys")] = ""
    secret_key: Annotated[str, Meta(description="belongs to access_key")] = ""
    ca: Annotated[str, Meta(description="PEM file of an authority of your own that signed the server")] = ""

    def __repr__(self) -> str:
        return f"StorageSetting(endpoint={self.endpoint!r}, vendor={self.vendor!r}, bucket={self.bucket!r})"


class Config(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    data: Annotated[str, Meta(description="directory of everything that is kept")] = "data"
    listen: Annotated[str, Meta(description="HOST:PORT of the API, the signalling and the pages")] = "0.0.0.0:7880"
    public_url: Annotated[
        str, Meta(description="what the media library's addresses begin with, as players reach it; empty: listen's")
    ] = ""
    media_port: Annotated[
        int, Meta(description="port of all media, UDP and TCP; 0 takes a free one", ge=0, le=65535)
    ] = 7882
    media_listen: Annotated[
        tuple[str, ...],
        Meta(description="HOST:PORT of all media, [::]:7882 for IPv6 and IPv4; empty: listen's host and media_port"),
    ] = ()
    media_tcp: Annotated[
        bool, Meta(description="take media over TCP too, of clients that UDP does not get through to")
    ] = True
    media_addresses: Annotated[
        tuple[str, ...],
        Meta(description="IP addresses that clients reach this machine at; empty: found out at the start"),
    ] = ()
    media_stun: Annotated[
        tuple[str, ...],
        Meta(description="stun:HOST[:PORT] of servers asked at the start which address clients reach this machine at"),
    ] = ()
    media_cpu_limit: Annotated[
        float,
        Meta(description="share of a core from which on a thread of media takes nobody else; 0: no limit", ge=0, le=1),
    ] = 0.9
    media_bandwidth_limit: Annotated[
        int, Meta(description="Mbit/s of media sent from which on nobody else is taken; 0: no limit", ge=0, le=10**7)
    ] = 0
    egress_gso: Annotated[bool, Meta(description="hand packets for one viewer to the system together")] = True
    egress_padding: Annotated[bool, Meta(description="pad a picture's packets to one size")] = True
    egress_hold_ms: Annotated[
        int, Meta(description="ms that video may wait for the rest of its picture", ge=0, le=100)
    ] = 5
    media_shards: Annotated[
        int, Meta(description="threads that forward packets; 0: one per core less one", ge=0, le=256)
    ] = 0
    roles: Annotated[
        tuple[str, ...], Meta(description=f"what this process does: some of {', '.join(ROLES)}; worker may run alone")
    ] = ROLES
    ice_servers: Annotated[
        tuple[str, ...],
        Meta(description="STUN and TURN servers that clients are told of: URI, or URI USER CREDENTIAL"),
    ] = ()
    turn_urls: Annotated[
        tuple[str, ...],
        Meta(description="turn:HOST[:PORT] of servers that share turn_secret: clients get credentials for them"),
    ] = ()
    turn_secret: Annotated[str, Meta(description="secret that is shared with those servers")] = ""
    turn_secret_file: Annotated[str, Meta(description="file that holds it, instead")] = ""
    turn_ttl: Annotated[int, Meta(description="seconds that those credentials hold", ge=60, le=7 * 86_400)] = 86_400
    rtmp_listen: Annotated[str, Meta(description="HOST:PORT where RTMP clients push into rooms; empty: nowhere")] = ""
    rtmps_listen: Annotated[
        str, Meta(description="the same with TLS, by the certificate of tls_cert; empty: nowhere")
    ] = ""
    tls_cert: Annotated[str, Meta(description="PEM file of the certificate and what signed it; HTTPS with tls_key")] = (
        ""
    )
    tls_key: Annotated[str, Meta(description="PEM file of the certificate's key; read again on SIGHUP")] = ""
    allow_private: Annotated[bool, Meta(description="let addresses in API requests point into private networks")] = (
        False
    )
    demo: Annotated[bool, Meta(description="serve the demo page at /demo, which lets anybody join and record")] = False
    strict_regions: Annotated[bool, Meta(description="refuse API calls for regions that the documents do not list")] = (
        True
    )
    call_users: Annotated[int, Meta(description="people in a call; 0: no limit", ge=0)] = 300
    call_speakers: Annotated[int, Meta(description="people whose microphones are open in a call", ge=0)] = 50
    live_anchors: Annotated[int, Meta(description="anchors in a live room", ge=0)] = 50
    live_audience: Annotated[int, Meta(description="people who listen in a live room", ge=0)] = 100_000
    room_screens: Annotated[int, Meta(description="people who share a screen in one room", ge=0)] = 1
    account_limit: Annotated[
        int, Meta(description="API calls per second of an account, all actions together; 0: no limit", ge=0)
    ] = 0
    account_region_limit: Annotated[
        int, Meta(description="API calls per second of an account in one region; 0: no limit", ge=0)
    ] = 0
    keep_days: Annotated[
        int, Meta(description="days that calls, their events and quality are kept for; 0 keeps them", ge=0, le=3650)
    ] = 14
    disk_reserve: Annotated[
        int,
        Meta(
            description="MiB of the data directory's disk that stay free: with less, recordings wait for room",
            ge=16,
            le=1 << 30,
        ),
    ] = 512
    mixing_cores: Annotated[
        float,
        Meta(
            description="cores of this machine that tasks may plan to use; 0: no limit, -1: three quarters of them",
            ge=-1,
            le=65_536,
        ),
    ] = -1.0
    spare_job: Annotated[
        bool,
        Meta(description="keep a loaded process waiting, so that recordings and relays begin at once (some 65 MiB)"),
    ] = True
    log_level: Annotated[str, Meta(description="debug, info, warning or error")] = "info"
    limits: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        Meta(description="API calls per second of single actions, instead of the documented ones; 0 lifts one"),
    ] = {}
    callbacks: Annotated[tuple[CallbackSetting, ...], Meta(description="where events go, per application")] = ()
    storage: Annotated[tuple[StorageSetting, ...], Meta(description="the S3 servers behind buckets of requests")] = ()

    @property
    def directory(self) -> Path:
        return Path(self.data)

    @property
    def listen_address(self) -> tuple[str, int]:
        return parse_address(self.listen)


def thousandths(mixing_cores: float) -> int:
    """What ``mixing_cores`` means on this machine, in thousandths of a core; 0 is no limit."""
    if mixing_cores < 0:
        return 750 * len(os.sched_getaffinity(0))
    return math.ceil(1000 * mixing_cores)


def public_url(config: Config, endpoint: str) -> str:
    """Without a slash at its end. ``endpoint`` is scheme, host and port that this process listens on; a host that
    stands for all of a machine's addresses gives way to the first that clients are told."""
    if config.public_url:
        return config.public_url.rstrip("/")
    host, _ = config.listen_address
    if host not in ("0.0.0.0", "::"):
        return endpoint
    address = (config.media_addresses or local_addresses(host))[0]
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{f'[{address}]' if ':' in address else address}:{rest.rpartition(':')[2]}"


def parse_address(text: str, key: str = "listen") -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPv6]:PORT``."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{key}: {text!r} is not HOST:PORT")
    return host, int(port)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each key that is not a table; ``--config`` names the file."""
    parser.add_argument("--config", metavar="FILE", help="TOML file with any of these keys")
    for name, field in _fields().items():
        if name in TABLES:
            continue
        flag = "--" + name.replace("_", "-")
        if _base(field) is bool:
            parser.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, help=_help(field))
        else:
            parser.add_argument(flag, dest=name, metavar=name.upper(), help=_help(field))


def load(arguments: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Config:
    """``arguments``: the parsed flags by name (None where absent)."""
    values: dict[str, Any] = {}
    file = arguments.get("config") or environ.get("RTCLOUD_CONFIG")
    if file:
        values.update(_read(Path(file)))
    for name, field in _fields().items():
        if name in TABLES:
            continue
        for where, given in (
            (f"RTCLOUD_{name.upper()}", environ.get(f"RTCLOUD_{name.upper()}")),
            ("--" + name.replace("_", "-"), arguments.get(name)),
        ):
            if given is not None:
                values[name] = _parse(where, given, field)
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration: {error}") from error
    _check(config)
    return config


def example() -> str:
    """A configuration file with every key, its default and what it is."""
    lines = ["# Every key of rtcloud, with its default. A flag wins over RTCLOUD_KEY, which wins over this file.", ""]
    defaults = Config()
    for name, field in _fields().items():
        if name in TABLES:
            continue
        value = getattr(defaults, name)
        lines += [f"# {_help(field)}", f"# {name} = {_toml(value)}", ""]
    lines += [f"# {_help(_fields()['limits'])}", "# [limits]", '# "*" = 0', "# DescribeCloudRecording = 100", ""]
    lines.append("# Where an application's events go; once per address.")
    lines += _example_of("callbacks", CallbackSetting, "https://example.com/callbacks")
    lines += ["", "# Where the files of recordings go instead of data/files; once per bucket or vendor."]
    lines += _example_of("storage", StorageSetting, "https://s3.{region}.amazonaws.com")
    return "\n".join(lines) + "\n"


def _example_of(table: str, setting: type[msgspec.Struct], required: str) -> list[str]:
    lines = [f"# [[{table}]]"]
    defaults = {field.name: field.default for field in msgspec.structs.fields(setting)}
    for name, field in _fields(setting).items():
        default = required if defaults[name] is msgspec.NODEFAULT else defaults[name]
        lines += [f"# # {_help(field)}", f"# {name} = {_toml(default)}"]
    return lines


def local_addresses(listen_host: str) -> list[str]:
    """The addresses to give to clients when none are configured: the host itself, or what this machine has."""
    try:
        address = ipaddress.ip_address(listen_host)
    except ValueError:
        return [socket.gethostbyname(listen_host)]
    if not address.is_unspecified:
        return [str(address)]
    found = [_outward(socket.AF_INET, "198.51.100.1"), "127.0.0.1"]
    if address.version == 6:
        found += [_outward(socket.AF_INET6, "2001:db8::1"), "::1"]
    return list(dict.fromkeys(filter(None, found)))


def _outward(family: socket.AddressFamily, elsewhere: str) -> str:
    """The address that this machine has toward others; nothing when it has none of this family."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # sends nothing; the kernel picks the interface
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def media_places(config: Config, host: str) -> list[tuple[str, int]]:
    """Where media is listened for. ``host``: what ``listen`` names."""
    return [parse_address(each, "media_listen") for each in config.media_listen] or [(host, config.media_port)]


def stun_servers(config: Config) -> list[tuple[str, int]]:
    """Host and port of each of ``media_stun``."""
    found = [match for server in config.media_stun if (match := _STUN_SERVER.fullmatch(server))]
    return [(match[1].strip("[]"), int(match[2] or 3478)) for match in found]


def turn_secret(config: Config) -> str:
    if not config.turn_secret_file:
        return config.turn_secret
    try:
        secret = Path(config.turn_secret_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"turn_secret_file: {config.turn_secret_file}: {error}") from error
    if not secret:
        raise ConfigError(f"turn_secret_file: {config.turn_secret_file} is empty")
    return secret


def _fields(of: type[msgspec.Struct] = Config) -> dict[str, Any]:
    return typing.get_type_hints(of, include_extras=True)


def _help(field: Any) -> str:
    return str(field.__metadata__[0].description)


def _base(field: Any) -> Any:
    inner = typing.get_args(field)[0]
    return typing.get_origin(inner) or inner


def _parse(where: str, given: Any, field: Any) -> Any:
    if not isinstance(given, str):
        return given
    base = _base(field)
    if base is bool:
        words = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }
        if given.lower() not in words:
            raise ConfigError(f"{where}: {given!r} is neither true nor false")
        return words[given.lower()]
    if base is int:
        try:
            return int(given)
        except ValueError:
            raise ConfigError(f"{where}: {given!r} is not a whole number") from None
    if base is float:
        try:
            return float(given)
        except ValueError:
            raise ConfigError(f"{where}: {given!r} is not a number") from None
    if base is tuple:
        return tuple(part.strip() for part in given.split(",") if part.strip())
    return given


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _check(config: Config) -> None:
    parse_address(config.listen)
    for key, address in (("rtmp_listen", config.rtmp_listen), ("rtmps_listen", config.rtmps_listen)):
        if address:
            parse_address(address, key)
    if config.public_url and not _PUBLIC.fullmatch(config.public_url):
        raise ConfigError(
            f"public_url: {config.public_url!r} is not http:// or https:// with a host, and perhaps a path"
        )
    unknown = set(config.roles) - set(ROLES)
    if unknown or not config.roles:
        raise ConfigError(f"roles: {', '.join(sorted(unknown)) or 'none'}; there are {', '.join(ROLES)}")
    room_roles = {"api", "signal", "media", "sender"}
    if set(config.roles) & room_roles and not room_roles <= set(config.roles):
        raise ConfigError("roles: api, signal, media and sender are one process's; only worker may run alone")
    for address in config.media_addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ConfigError(f"media_addresses: {address!r} is not an IP address") from None
    for address in config.media_listen:
        parse_address(address, "media_listen")
    if any(_STUN_SERVER.fullmatch(server) is None for server in config.media_stun):
        raise ConfigError("media_stun: each is stun:HOST[:PORT]")
    if any(_TURN_URL.fullmatch(server) is None for server in config.turn_urls):
        raise ConfigError("turn_urls: each is turn:HOST[:PORT] or turns:HOST[:PORT], perhaps with ?transport=")
    if config.turn_secret and config.turn_secret_file:
        raise ConfigError("turn_secret, turn_secret_file: one of them, not both")
    if bool(config.turn_urls) != bool(config.turn_secret or config.turn_secret_file):
        raise ConfigError("turn_urls, turn_secret: each needs the other")
    if any(_ICE_SERVER.fullmatch(server) is None for server in config.ice_servers):
        raise ConfigError("ice_servers: each is stun:HOST[:PORT] or turn:HOST[:PORT], perhaps with USER CREDENTIAL")
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError("tls_cert, tls_key: HTTPS needs both")
    if config.rtmps_listen and not config.tls_cert:
        raise ConfigError("rtmps_listen: RTMPS needs tls_cert and tls_key")
    if config.mixing_cores < 0 and config.mixing_cores != -1:
        raise ConfigError(f"mixing_cores: {config.mixing_cores} is neither a number of cores, 0 nor -1")
    for setting in config.storage:
        _check_storage(setting)
    if config.log_level not in ("debug", "info", "warning", "error"):
        raise ConfigError(f"log_level: {config.log_level!r} is not debug, info, warning or error")


def _check_storage(setting: StorageSetting) -> None:
    where = f"storage: {setting.endpoint!r}"
    if not _ENDPOINT.fullmatch(setting.endpoint):
        raise ConfigError(f"{where} is not http:// or https:// with a host and perhaps a port")
    if setting.vendor not in ("", "cos", "aws"):
        raise ConfigError(f"{where}: vendor: {setting.vendor!r} is neither cos nor aws")
    if bool(setting.access_key) != bool(setting.secret_key):
        raise ConfigError(f"{where}: access_key, secret_key: each needs the other")
    if setting.access_key and not setting.bucket:
        raise ConfigError(f"{where}: access_key: keys of yours need the bucket that they are for")
    if not setting.path_style and "{bucket}" not in setting.endpoint and not setting.bucket:
        raise ConfigError(f"{where}: path_style: without it the endpoint must have {{bucket}} in its host")
    if setting.ca:
        try:
            Path(setting.ca).read_bytes()
        except OSError as error:
            raise ConfigError(f"{where}: ca: {setting.ca}: {error.strerror}") from error


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
