"""Which store keeps the files of a request: a real S3 where its address is known, else ``DIR/files``.

The address comes from the operator's settings (``[[storage]]``: of that bucket, else of that vendor) or from the
request's ``EndpointUrl``. A request's own address is guarded as every address from outside: it is checked before each
use, so that a refusal has words, and obstore reaches it through a tunnel that dials what was checked.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from rtcloud.config import StorageSetting
from rtcloud.egress.filing import LIBRARY
from rtcloud.outgoing.addresses import is_public, literal
from rtcloud.outgoing.dialing import AddressRefusedError, Dialer
from rtcloud.store.objects import UNREACHABLE, Bucket, Objects, StorageError
from rtcloud.store.s3 import S3Objects

STORES = 256  # kept open
REFUSED = "AddressRefused"


class EndpointError(ValueError):
    """``str()`` says what is wrong with the address, as the end of a sentence that begins with its name."""


def check_endpoint(url: str, *, allow_private: bool = True) -> str:
    """Scheme, host and port of an ``EndpointUrl``. A literal private address is refused without ``allow_private``;
    names are looked up when they are used."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise EndpointError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EndpointError("must be an http or https address")
    if parts.username is not None or parts.password is not None:
        raise EndpointError("must not hold a user name or a password")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise EndpointError("must be only scheme, host and port: the bucket and the prefixes have members of their own")
    if not allow_private and (known := literal(parts.hostname)) is not None and not is_public(known):
        raise EndpointError("leads into a private network")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"


class Storages:
    """``local`` keeps what has no address, ``library`` what goes to VOD (without one: ``local``). ``tunnel``
    is the URL of the one through which addresses of requests are reached, over the same ``dialer``."""

    def __init__(
        self,
        local: Objects,
        *,
        library: Objects | None = None,
        settings: Sequence[StorageSetting] = (),
        allow_private: bool = False,
        dialer: Dialer | None = None,
        tunnel: str = "",
    ) -> None:
        self._local = local
        self._library = library or local
        self._settings = settings
        self._dialer = dialer or Dialer(allow_private=allow_private)
        self._tunnel = tunnel
        self._open: OrderedDict[Bucket, Objects] = OrderedDict()

    def set(self, settings: Sequence[StorageSetting]) -> None:
        """From now on; authorities' files are read again, too."""
        self._settings = settings
        self._open.clear()

    def of(self, bucket: Bucket) -> Objects:
        if bucket == LIBRARY:
            return self._library
        setting = setting_of(self._settings, bucket)
        if setting is None and not bucket.endpoint_url:
            return self._local
        if (found := self._open.get(bucket)) is None:
            if len(self._open) >= STORES:
                self._open.popitem(last=False)
            self._open[bucket] = found = self._guarded(bucket) if setting is None else _set(bucket, setting)
        self._open.move_to_end(bucket)
        return found

    def _guarded(self, bucket: Bucket) -> Objects:
        endpoint, by_host = _given_endpoint(bucket)
        inner = S3Objects(bucket, endpoint=endpoint, region=bucket.region, path_style=not by_host, proxy=self._tunnel)
        return _Guarded(inner, urlsplit(endpoint).hostname or "", self._dialer)


def address_of(settings: Sequence[StorageSetting], bucket: Bucket) -> str:
    """Where the addresses of the bucket's objects begin; "" for one that is kept on this machine."""
    setting = setting_of(settings, bucket)
    if setting is not None:
        endpoint, by_host = _address(bucket, setting), not setting.path_style
    elif bucket.endpoint_url:
        endpoint, by_host = _given_endpoint(bucket)
    else:
        return ""
    return endpoint if by_host else f"{endpoint}/{bucket.name}"


def setting_of(settings: Sequence[StorageSetting], bucket: Bucket) -> StorageSetting | None:
    """The operator's word on the bucket: by its name before by its vendor. A request with an address of its own is
    met only by a setting with that very address."""
    fitting = [
        each
        for each in settings
        if each.bucket in ("", bucket.name)
        and each.vendor in ("", bucket.vendor)
        and bucket.endpoint_url.rstrip("/") in ("", _address(bucket, each))
    ]
    return max(fitting, key=lambda each: (bool(each.bucket), bool(each.vendor)), default=None)


def _given_endpoint(bucket: Bucket) -> tuple[str, bool]:
    """Of a request, and whether its host has the bucket's name."""
    endpoint = check_endpoint(bucket.endpoint_url)
    host = urlsplit(endpoint).hostname or ""
    if host.startswith(f"{bucket.name}."):
        return endpoint, True
    if host.endswith(".myqcloud.com"):  # COS takes a bucket's name only in the host
        scheme, rest = endpoint.split("://", 1)
        return f"{scheme}://{bucket.name}.{rest}", True
    return endpoint, False


def set_store(setting: StorageSetting) -> S3Objects:
    """Of a bucket that the operator keeps keys for; without ``{region}`` in its endpoint."""
    return _set(Bucket(name=setting.bucket, vendor=setting.vendor), setting)


def _set(bucket: Bucket, setting: StorageSetting) -> S3Objects:
    if setting.access_key:
        bucket = replace(bucket, access_key=setting.access_key, secret_key=setting.secret_key)
    return S3Objects(
        bucket,
        endpoint=_address(bucket, setting),
        region=setting.region or bucket.region,
        path_style=setting.path_style,
        authority=Path(setting.ca).read_bytes() if setting.ca else b"",
    )


def _address(bucket: Bucket, setting: StorageSetting) -> str:
    """The setting's endpoint; both words were validated to be no more than a part of a host's name."""
    region = setting.region or bucket.region
    return setting.endpoint.rstrip("/").replace("{region}", region).replace("{bucket}", bucket.name)


class _Guarded:
    """A store whose address came in a request."""

    is_remote = True

    def __init__(self, inner: S3Objects, host: str, dialer: Dialer) -> None:
        self.place = inner.place
        self._inner = inner
        self._host = host
        self._dialer = dialer

    async def put(self, key: Sequence[str], source: Path) -> None:
        await self._check()
        await self._inner.put(key, source)

    async def probe(self, folder: Sequence[str]) -> None:
        await self._check()
        await self._inner.probe(folder)

    async def _check(self) -> None:
        try:
            await self._dialer.addresses(self._host)
        except AddressRefusedError:
            raise StorageError(REFUSED, "the EndpointUrl leads into a private network") from None
        except OSError:
            raise StorageError(UNREACHABLE, "the EndpointUrl's name cannot be looked up") from None
