"""Who made a request: reads it as far as its signature asks for, and hands on what was signed.

A TC3 request is judged by its head first (form, time, SecretId, networks); its body is read only for a caller who
exists, and counted by the guard until the signature proves right. A v1 request has everything in its parameters, so at
most 1 MB of it is read and split before anything is known of it.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from rtcloud.accounts.authentication import Keyring, SigningKey
from rtcloud.accounts.entities import Caller
from rtcloud.accounts.networks import may_call
from rtcloud.accounts.store import Accounts
from rtcloud.apimodel.model import Action, Model
from rtcloud.clock import Clock
from rtcloud.errors import ServiceError
from rtcloud.gateway import common_parameters, heads
from rtcloud.gateway.bodies import Body
from rtcloud.gateway.common_parameters import CommonParameters
from rtcloud.gateway.decoding.fields import Field, parse_form, parse_multipart
from rtcloud.gateway.decoding.unflattening import decode_json, unflatten
from rtcloud.gateway.guard import Guard
from rtcloud.gateway.heads import Head
from rtcloud.gateway.signing import tc3, v1
from rtcloud.gateway.signing.faults import check_time
from rtcloud.gateway.signing.replays import Replays

LARGE_BODY = 256 * 1024  # from here on, hashing and decoding leave the event loop
FORM_WORK = 32  # a byte of a form takes as long to decode and check as so many of JSON

#: Each thread that computes takes its turn before the event loop goes on, so there are few; and strangers' forms, the
#: only large thing that is decoded before its signature can be looked at, wait for one another and for nobody else.
_strangers = ThreadPoolExecutor(1, thread_name_prefix="gateway-stranger")
_others = ThreadPoolExecutor(2, thread_name_prefix="gateway")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Proved:
    """``service`` is the one that the signature names, if it has to name one. ``decode`` gives the parameters as a JSON
    body has them; ``work`` is how much that is, in bytes of JSON."""

    caller: Caller
    service: str | None
    common: CommonParameters
    decode: Callable[[Model, Action], object]
    work: int


class Prover:
    def __init__(self, keyring: Keyring, accounts: Accounts, guard: Guard, clock: Clock) -> None:
        self._keyring = keyring
        self._accounts = accounts
        self._guard = guard
        self._clock = clock
        self._replays = Replays()

    async def prove(self, head: Head, body: Body) -> Proved:
        """The signed request, or a ``ServiceError``; failed authentications are counted."""
        method = heads.signature_method(head)
        try:
            proved = await (self._prove_tc3(head, body) if method == "TC3" else self._prove_v1(head, body))
        except ServiceError as error:
            if error.code.startswith("AuthFailure."):
                self._guard.failed(head.address, self._clock.now_ms())
            raise
        if body.unproved:
            self._guard.give(head.address, body.unproved, self._clock.now_ms())
        return proved

    async def _prove_tc3(self, head: Head, body: Body) -> Proved:
        headers = head.headers
        authorization = tc3.parse_authorization(headers.get("authorization"))
        seconds = check_time("X-TC-Timestamp", headers.get("x-tc-timestamp"), self._clock.now_ms())
        tc3.check_date(authorization, seconds)
        key = self._find(head, authorization.secret_id, headers.get("x-tc-token", ""))
        is_get = head.method == "GET"
        content = b"" if is_get else await self._read(head, body)
        if headers.get("x-tc-content-sha256") == tc3.UNSIGNED_PAYLOAD:
            payload_hash = tc3.hash_payload(tc3.UNSIGNED_PAYLOAD.encode())
        else:
            payload_hash = await run_sized(len(content), tc3.hash_payload, content)
        tc3.verify(
            authorization,
            key.secret_key,
            method=head.method,
            query=head.query.decode("latin-1") if is_get else "",
            headers=headers,
            payload_hash=payload_hash,
            seconds=seconds,
        )
        common = common_parameters.of_headers(headers)
        work = len(content) if head.media_type == heads.JSON else FORM_WORK * len(head.query if is_get else content)
        return Proved(key.caller, authorization.service, common, _decoder(head, content), work)

    async def _prove_v1(self, head: Head, body: Body) -> Proved:
        content = head.query if head.method == "GET" else await self._read(head, body, heads.MAX_V1_BODY)
        work = FORM_WORK * len(content)
        fields = await run_sized(work, parse_form, content, lane=_strangers)
        common = common_parameters.of_fields(fields)
        seconds = check_time("Timestamp", fields["Timestamp"].text, self._clock.now_ms())
        key = self._find(head, fields["SecretId"].text, common_parameters.text_of(fields, "Token"))
        texts = {name: field.text for name, field in fields.items()}
        host = head.headers.get("host", "")
        signature = await run_sized(
            len(content), lambda: v1.verify(texts, key.secret_key, method=head.method, host=host), lane=_strangers
        )
        self._replays.check(key.caller.account_uin, signature, seconds, self._clock.now_ms())
        return Proved(key.caller, None, common, lambda model, action: _of_form(fields, model, action), work)

    def _find(self, head: Head, secret_id: str, token: str) -> SigningKey:
        key = self._keyring.find(secret_id, token or None, self._clock.now_ms())
        account = self._accounts.account(key.caller.account_uin)
        if account is not None:
            may_call(account.settings, head.address)
        return key

    async def _read(self, head: Head, body: Body, limit: int = heads.MAX_BODY) -> bytes:
        guard, clock = self._guard, self._clock
        return await body.read(limit, lambda size: guard.take(head.address, size, clock.now_ms()))


async def run_sized(size: int, work: Callable[..., T], *arguments: Any, lane: ThreadPoolExecutor = _others) -> T:
    """``work`` here, or in a thread of ``lane`` when there is much of it."""
    if size < LARGE_BODY:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(lane, work, *arguments)


def _decoder(head: Head, content: bytes) -> Callable[[Model, Action], object]:
    if head.method == "GET":
        return lambda model, action: _of_form(parse_form(head.query), model, action)
    if head.media_type == heads.JSON:
        return lambda model, action: decode_json(content)
    return lambda model, action: unflatten(model, action, parse_multipart(content, head.content_type).values())


def _of_form(fields: Mapping[str, Field], model: Model, action: Action) -> object:
    return unflatten(model, action, common_parameters.without_common(fields, action))
