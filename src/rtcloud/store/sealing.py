"""Secrets at rest: AES-256-GCM under one master key.

The key is ``RTCLOUD_MASTER_KEY`` (base64 of 32 bytes) or ``DIR/master.key`` (mode 0600, made at the first start).
A sealed value is ``version byte, 12-byte nonce, ciphertext with tag``; ``purpose`` is bound into it, so that a value
copied into another column does not open.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rtcloud.errors import ConfigError

_VERSION = b"\x01"
_NONCE = 12
KEY_BYTES = 32
ENVIRONMENT = "RTCLOUD_MASTER_KEY"


class SealError(Exception):
    """The value was not sealed by this master key for this purpose."""


class Sealer:
    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, secret: bytes, *, purpose: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, purpose.encode())

    def open(self, sealed: bytes, *, purpose: str) -> bytes:
        if sealed[:1] != _VERSION:
            raise SealError("not a sealed value")
        nonce, box = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, box, purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError(f"the master key does not open this {purpose}") from error


def open_sealer(directory: Path, environ: Mapping[str, str] = os.environ) -> Sealer:
    """The sealer of a data directory; its key is made when there is none."""
    given = environ.get(ENVIRONMENT)
    if given:
        return Sealer(_decode(given, ENVIRONMENT))
    path = directory / "master.key"
    directory.mkdir(parents=True, exist_ok=True)
    _make(path)
    return Sealer(_decode(path.read_text("ascii", errors="replace"), str(path)))


def _make(path: Path) -> None:
    """Write a new key unless one is there. Complete before it is seen, so two first starts agree on one key."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{where} must hold base64 of {KEY_BYTES} bytes")
    return key
