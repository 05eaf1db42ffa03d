"""Temporary credentials, without a table: the token is the whole state, sealed with the master key.

A session has at most the rights of what it was made from, at every moment: the key pair at its root, that pair's user
and the assumed role are looked at again at each use, so it ends with any of them, and loses what they lose. A policy
given with it can only narrow, and a session made by a session is narrowed by all policies on the way and lives no
longer.

Opening a token costs a decryption and the parsing of its policies, so that opened tokens are kept, a bounded number.
"""

import base64
import binascii
import hmac
import json
import secrets
import string
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from rtcloud.accounts.entities import AccountsError, Caller, KeyPair, Origin, Role, new_secret_key
from rtcloud.accounts.policies import MAX_DOCUMENT, Document, parse_document
from rtcloud.accounts.store import Accounts
from rtcloud.errors import ServiceError
from rtcloud.store.sealing import Sealer, SealError

PURPOSE = "session"
MAX_TOKEN = 4096  # bytes
#: Characters of a session's policies together. They pack well, so a token alone would not bound what opening it costs.
MAX_POLICIES = 5 * MAX_DOCUMENT
MAX_OPENED = 4096
#: Of the policies of all opened tokens, which take five to twenty times that in memory.
MAX_OPENED_CHARACTERS = 4 * 1024 * 1024
SECRET_ID_LETTERS = 60
_ALPHABET = string.ascii_letters + string.digits + "_-"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What a request must be signed with, and who signed it then."""

    secret_key: str = field(repr=False)
    caller: Caller


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    secret_id: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_ms: int


class _Sealed(msgspec.Struct, array_like=True, frozen=True):
    """The content of a token."""

    secret_id: str
    secret_key: str
    name: str
    account_uin: str
    key_id: str  # of the permanent key pair at the root
    role: str
    role_made_ms: int  # so that another role of the same name is another one
    policies: tuple[str, ...]
    expires_ms: int


@dataclass(frozen=True, slots=True)
class _Opened:
    content: _Sealed
    documents: tuple[Document, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.content.policies))


class Sessions:
    def __init__(self, sealer: Sealer, accounts: Accounts) -> None:
        self._sealer = sealer
        self._accounts = accounts
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._characters = 0

    def federate(
        self, caller: Caller, *, name: str, policy: Document | None, duration_s: int, now_ms: int
    ) -> TemporaryCredentials:
        """The caller's own rights, narrowed by ``policy``. Raises AccountsError if all its policies are too long."""
        role = self._role_of(caller)
        return self._make(caller, name, role, policy, duration_s, now_ms)

    def assume(
        self, caller: Caller, role: Role, *, session_name: str, policy: Document | None, duration_s: int, now_ms: int
    ) -> TemporaryCredentials:
        """The rights of ``role`` instead of the caller's, narrowed by ``policy`` and by what narrows the caller.

        Whether the role trusts the caller, and whether the caller may ask, is checked before. Raises AccountsError.
        """
        return self._make(caller, session_name, role, policy, duration_s, now_ms)

    def open(self, secret_id: str, token: str, now_ms: int) -> SigningKey:
        """Raises ServiceError ``AuthFailure.TokenFailure``."""
        opened = self._opened.get(token)
        if opened is None:
            opened = self._unseal(token)
            self._keep(token, opened)
        else:
            self._opened.move_to_end(token)
        content = opened.content
        if not hmac.compare_digest(content.secret_id.encode(), secret_id.encode("utf-8", "replace")):
            raise _failure("it belongs to another SecretId")
        if now_ms >= content.expires_ms:
            raise _failure("it has expired")
        pair = self._accounts.key_pair(content.key_id)
        if pair is None or not pair.enabled:
            raise _failure("the key that it was made with is disabled or deleted")
        role = self._accounts.role(pair.user.account_uin, content.role) if content.role else None
        if content.role and (role is None or role.created_ms != content.role_made_ms):
            raise _failure("the role that was assumed is deleted")
        if role is not None and not role.trusts(pair.user.uin):
            raise _failure("the role that was assumed does not trust the user any more")
        return SigningKey(content.secret_key, _caller(opened, pair, role))

    def _keep(self, token: str, opened: _Opened) -> None:
        self._opened[token] = opened
        self._characters += opened.size
        while len(self._opened) > MAX_OPENED or self._characters > MAX_OPENED_CHARACTERS:
            self._characters -= self._opened.popitem(last=False)[1].size

    def _make(
        self,
        caller: Caller,
        name: str,
        role: Role | None,
        policy: Document | None,
        duration_s: int,
        now_ms: int,
    ) -> TemporaryCredentials:
        origin = caller.origin
        documents = origin.policies if policy is None else (*origin.policies, policy)
        policies = tuple(_compact(document) for document in documents)
        if sum(map(len, policies)) > MAX_POLICIES:
            raise AccountsError("limit", "session", f"the session's policies have over {MAX_POLICIES} characters")
        expires_ms = now_ms + duration_s * 1000
        content = _Sealed(
            secret_id="AKID" + "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_ID_LETTERS)),
            secret_key=new_secret_key(),
            name=name,
            account_uin=caller.account_uin,
            key_id=origin.key_id,
            role=role.name if role else "",
            role_made_ms=role.created_ms if role else 0,
            policies=policies,
            expires_ms=min(expires_ms, origin.expires_ms) if origin.expires_ms else expires_ms,
        )
        sealed = self._sealer.seal(zlib.compress(msgspec.json.encode(content), 9), purpose=PURPOSE)
        token = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        if len(token) > MAX_TOKEN:
            raise AccountsError("limit", "session", f"the session's policies make a token of over {MAX_TOKEN} bytes")
        return TemporaryCredentials(content.secret_id, content.secret_key, token, content.expires_ms)

    def _role_of(self, caller: Caller) -> Role | None:
        """Of a caller that has assumed one, as it was when its credential was checked."""
        if not caller.origin.role:
            return None
        role = self._accounts.role(caller.account_uin, caller.origin.role)
        if role is None:
            raise AccountsError("not_found", "role", f"there is no role {caller.origin.role}")
        return role

    def _unseal(self, token: str) -> _Opened:
        if len(token) > MAX_TOKEN:
            raise _failure("it is too long")
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            packed = self._sealer.open(sealed, purpose=PURPOSE)
        except (binascii.Error, ValueError, SealError):
            raise _failure("it is not one of this server's tokens") from None
        content = msgspec.json.decode(zlib.decompress(packed), type=_Sealed)
        owner = content.account_uin
        return _Opened(content, tuple(parse_document(text, account_uin=owner) for text in content.policies))


def caller_of(pair: KeyPair) -> Caller:
    """Whoever signs with a permanent key pair."""
    user = pair.user
    return Caller(
        account_uin=user.account_uin,
        user_uin=user.uin,
        name=user.name,
        policy_sets=(tuple(policy.document for policy in user.policies),),
        arn=f"qcs::cam::uin/{user.account_uin}:uin/{user.uin}",
        origin=Origin(pair.secret_id),
    )


def _caller(opened: _Opened, pair: KeyPair, role: Role | None) -> Caller:
    content, user = opened.content, pair.user
    policies = user.policies if role is None else role.policies
    who = f"federated-user/{user.uin}" if role is None else f"assumed-role/{role.name}/{content.name}"
    return Caller(
        account_uin=user.account_uin,
        user_uin=user.uin,
        name=content.name,
        policy_sets=(
            tuple(policy.document for policy in policies),
            *((document,) for document in opened.documents),
        ),
        temporary=True,
        arn=f"qcs::sts::uin/{user.account_uin}:{who}",
        origin=Origin(content.key_id, content.role, opened.documents, content.expires_ms),
    )


def _compact(document: Document) -> str:
    return json.dumps(json.loads(document.text), separators=(",", ":"), ensure_ascii=False)


def _failure(why: str) -> ServiceError:
    return ServiceError("AuthFailure.TokenFailure", f"the token is not valid: {why}")
