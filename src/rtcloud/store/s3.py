"""A bucket of an S3 server (AWS, COS by its S3 interface, MinIO, Ceph …) as a place for finished files, by obstore.

A file up to ``PART_BYTES`` goes in one request, a larger one in parts of that size. Each request has its time and its
few tries; what fails then is a ``StorageError`` with the server's own code and words. obstore takes back the parts of
an upload that failed; those of a process that was killed stay until the bucket's own rule removes them.

An answer that says "stored" is believed when its digest is the file's. Else the store is asked for the object's size,
so that nothing on the way (a portal that answers for the store, a redirect that ends at some page) makes a recording
disappear; a store that may not be asked, and digests otherwise, is taken at its word.

What obstore would read from the environment is given here, so that neither the keys nor the address of a request can
be mixed with the machine's own.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from rtcloud.store.objects import CONTENT_TYPES, TIMED_OUT, UNREACHABLE, Bucket, StorageError, safe_key

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential

PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes
PARTS_AT_ONCE = 2
CONNECT_SECONDS = 5
REQUEST_SECONDS = 120  # a part passes at 43 kB/s
PROBE_SECONDS = 10.0
RETRIES = 2
NOT_STORED = "NotStored"
PROBE_NAME = ".rtcloud-probe"

_CODE = re.compile(r"<Code>\s*([A-Za-z0-9._-]{1,100})\s*</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,500})", re.DOTALL)
_STATUS = re.compile(r"non-2xx status code: (\d{3}[^\n:]{0,60})")
#: of what obstore makes of answers that are none of S3's
_NO_S3 = ("missing from response", "invalid multipart response", "Error getting", "invalid put response")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}


class S3Objects:
    """``endpoint`` is scheme, host and port; with ``path_style`` the bucket's name is in the path, else in the host.
    ``authority`` is the PEM of who signed the server beside those whom everybody trusts; ``proxy`` is the URL of an
    ``outgoing.tunnel``."""

    is_remote = True

    def __init__(
        self,
        bucket: Bucket,
        *,
        endpoint: str,
        region: str,
        path_style: bool,
        authority: bytes = b"",
        proxy: str = "",
        request_seconds: float = REQUEST_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        self.place = endpoint
        access_key, secret_key = bucket.access_key, bucket.secret_key

        def credentials() -> "S3Credential":
            return {"access_key_id": access_key, "secret_access_key": secret_key, "token": None, "expires_at": None}

        options: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=request_seconds),
        }
        if authority:
            options["root_certificate"] = authority
        if proxy:
            options["proxy_url"] = proxy
            if endpoint.startswith("http://"):
                options["pool_max_idle_per_host"] = "0"  # through our tunnel a connection carries one request
        self._name = bucket.name
        self._store = S3Store(
            bucket.name,
            endpoint=endpoint,
            aws_endpoint_url_s3=endpoint,
            region=region,
            virtual_hosted_style_request=not path_style,
            skip_signature=False,
            disable_bulk_delete=True,  # not every server knows it
            credential_provider=credentials,
            client_options=options,
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=request_seconds * 2),
                "backoff": {"init_backoff": timedelta(seconds=0.5), "max_backoff": timedelta(seconds=5)},
            },
        )

    async def put(self, key: Sequence[str], source: Path) -> None:
        content_type = CONTENT_TYPES.get(source.suffix, "application/octet-stream")
        path = self._path(key)
        with translated():
            size = await asyncio.to_thread(_size, source)
            # one that is rewritten meanwhile goes as it was at one moment, or fails
            content = await asyncio.to_thread(source.read_bytes) if size < PART_BYTES else source
            answer = await obstore.put_async(
                self._store,
                path,
                content,
                attributes={"Content-Type": content_type},
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
            if isinstance(content, bytes):
                await self._confirm(path, content, answer["e_tag"])

    async def probe(self, folder: Sequence[str]) -> None:
        path = self._path([*folder, PROBE_NAME])
        with translated():
            async with asyncio.timeout(PROBE_SECONDS):
                answer = await obstore.put_async(self._store, path, b"")
                await self._confirm(path, b"", answer["e_tag"])
        with contextlib.suppress(BaseError, OSError, TimeoutError):  # keys that may only write are enough
            async with asyncio.timeout(PROBE_SECONDS):
                await obstore.delete_async(self._store, path)

    async def _confirm(self, path: str, content: bytes, e_tag: str | None) -> None:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if (e_tag or "").strip('"').lower() == digest:
            return
        try:
            size = (await obstore.head_async(self._store, path))["size"]
        except (PermissionDeniedError, UnauthenticatedError):
            return
        except FileNotFoundError:
            size = -1
        if size != len(content):
            raise StorageError(NOT_STORED, "the store said that it has a file, and has it not")

    def _path(self, key: Sequence[str]) -> str:
        bucket, *rest = key
        assert bucket == self._name, "a key begins with its bucket"
        return safe_key(rest)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise StorageError(TIMED_OUT, "the store did not answer in time") from error
    except (BaseError, OSError, ValueError) as error:
        raise StorageError(*explain(type(error).__name__, str(error))) from error


def _size(path: Path) -> int:
    return path.stat().st_size


def explain(kind: str, text: str) -> tuple[str, str]:
    """The code and the words of a refusal: the server's own where it gave any. ``text`` is obstore's, whose first
    line ends with what the server answered and whose later ones are for its developers."""
    said = text.partition("\n\nDebug source:")[0]
    code, message = _CODE.search(said), _MESSAGE.search(said)
    if code is not None:
        words = code[1] if message is None else " ".join(message[1].split())
        for entity, character in _ENTITIES.items():
            words = words.replace(entity, character)
        return code[1], words
    first = said.split("\n", 1)[0].strip()[:500]
    if status := _STATUS.search(said):
        return f"Http{status[1][:3]}", f"the store answered {status[1].strip()}"
    if "operation timed out" in text or "TimedOut" in text or "deadline has elapsed" in text:
        return TIMED_OUT, "the store did not answer in time"
    if "invalid peer certificate" in text or "InvalidCertificate" in text:
        return "CertificateRefused", "the store's certificate is not one to trust for its address"
    if "error sending request" in said or "HTTP error" in said:
        return UNREACHABLE, _reason(text)
    if any(words in said for words in _NO_S3):
        return "UnexpectedAnswer", "what answers at the store's address is no S3 server"
    return kind.removesuffix("Error") or kind, first


def _reason(text: str) -> str:
    if "dns error" in text:
        return "the name of the store's address cannot be looked up"
    if "InvalidContentType" in text or "corrupt message" in text:
        return "there is no TLS at the store's address"
    if "ConnectionRefused" in text:
        return "nothing listens at the store's address"
    return "there is no connection to the store, or it broke"
