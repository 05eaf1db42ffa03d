"""Who signs a request: a SecretId, with a token if it is temporary, to the key that its signature must be made with."""

import re

from rtcloud.accounts.entities import KeyPair
from rtcloud.accounts.sessions import Sessions, SigningKey, caller_of
from rtcloud.accounts.store import Accounts
from rtcloud.errors import ServiceError

__all__ = ["Keyring", "SigningKey"]

#: Both kinds: a permanent one has 36 characters, a temporary one 64.
_SECRET_ID = re.compile(r"AKID[A-Za-z0-9_-]{12,124}")
_LONGEST_PERMANENT = 40

MAX_MADE = 10_000


class Keyring:
    def __init__(self, accounts: Accounts, sessions: Sessions) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._made: dict[str, tuple[KeyPair, SigningKey]] = {}

    def find(self, secret_id: str, token: str | None, now_ms: int) -> SigningKey:
        """Raises ServiceError: ``AuthFailure.InvalidSecretId``, ``.SecretIdNotFound`` or ``.TokenFailure``."""
        pair = self._accounts.key_pair(secret_id)
        if pair is not None:
            if token:
                raise ServiceError(
                    "AuthFailure.TokenFailure", "a token belongs to a temporary key; this key is not one"
                )
            if not pair.enabled:
                raise ServiceError("AuthFailure.SecretIdNotFound", "the SecretId does not exist or is disabled")
            return self._signing_key(pair)
        if _SECRET_ID.fullmatch(secret_id) is None:
            raise ServiceError("AuthFailure.InvalidSecretId", "the SecretId is none of this cloud's")
        if token:
            return self._sessions.open(secret_id, token, now_ms)
        if len(secret_id) > _LONGEST_PERMANENT:
            raise ServiceError("AuthFailure.TokenFailure", "a temporary SecretId needs its token")
        raise ServiceError("AuthFailure.SecretIdNotFound", "the SecretId does not exist or is disabled")

    def _signing_key(self, pair: KeyPair) -> SigningKey:
        """Made once for each state of the pair: any change of it, its user or their policies is another value."""
        made = self._made.get(pair.secret_id)
        if made is None or made[0] is not pair:
            if len(self._made) >= MAX_MADE:
                self._made.clear()
            made = self._made[pair.secret_id] = pair, SigningKey(pair.secret_key, caller_of(pair))
        return made[1]
