"""HTTPS for ``rtcloud serve``: a certificate and its key, read at the start and again on SIGHUP.

New connections use the new certificate; those that are open keep the old one. A certificate that cannot be used stops
the start with one clear line; at a reload it is logged and the one in use stays.
"""

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from rtcloud.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files; ``chain`` is the certificate and what signed it."""

    chain: Path
    key: Path

    def context(self, protocols: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
        """TLS 1.2 and later. Raises ConfigError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if protocols:
            context.set_alpn_protocols(protocols)
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        for name, path in (("tls_cert", self.chain), ("tls_key", self.key)):
            try:
                path.read_bytes()
            except OSError as error:
                raise ConfigError(f"{name}: {path}: {error.strerror or error}") from error
        try:
            # A key with a passphrase would be asked for on the terminal; an empty one makes it an error.
            context.load_cert_chain(self.chain, self.key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ConfigError(
                f"tls_cert, tls_key: {self.chain} and {self.key} are not a certificate and its key in PEM, "
                f"without a passphrase ({error})"
            ) from error

    def reload(self, context: ssl.SSLContext) -> None:
        """Take the files as they are now; for a signal handler."""
        try:
            self.context()  # tried apart first: a failed load could leave a certificate without its key
            self.load_into(context)
        except ConfigError as error:
            _log.error("the certificate was not reloaded", extra={"reason": str(error)})
        else:
            _log.info("the certificate was reloaded", extra={"expires": self.expires().isoformat()})

    def expires(self) -> datetime:
        try:
            return x509.load_pem_x509_certificate(self.chain.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            raise ConfigError(f"tls_cert: {self.chain}: {error}") from error

    def days_left(self, now_ms: int) -> int:
        return (self.expires() - datetime.fromtimestamp(now_ms / 1000, UTC)).days
