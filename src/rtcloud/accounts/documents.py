"""Policy documents: parsing, with the place of whatever is wrong. Pure; what they mean together is in ``policies``."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from rtcloud.accounts.names import ANY, application_resource, every_application

MAX_DOCUMENT = 6144  # bytes
MAX_STATEMENTS = 50
VERSION = "2.0"

_STATEMENT_KEYS = ("effect", "action", "resource")
_UNSUPPORTED = {
    "condition": "conditions are not part of TRTC's policies",
    "principal": "a policy applies to the users and roles that it is attached to",
    "notAction": "list the actions, or deny some of them in a statement of their own",
    "notResource": "list the resources, or deny some of them in a statement of their own",
}
_ACTION = re.compile(r"(?:name/)?([a-z0-9_*-]{1,64}):([A-Za-z0-9_*]{1,128})")
_ACCOUNT = re.compile(r"uin/([0-9]{1,20}|\*)")
_APPLICATION = re.compile(r"sdkappid/([0-9]{1,20}|\*)")
_ACTION_FORMS = "an action is written name/trtc:RemoveUser, trtc:RemoveUser or *, with * for any letters"
_RESOURCE_FORMS = (
    "a resource is *, qcs::trtc::uin/ACCOUNT:sdkappid/* or qcs::trtc::uin/ACCOUNT:sdkappid/NUMBER "
    "(an empty ACCOUNT part is the policy's own account)"
)


class PolicyError(ValueError):
    """``part`` is what is wrong: document, version, statement, effect, action, resource, condition, principal."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class Wildcard:
    """A text in which ``*`` stands for any letters. Matching takes no longer than the two lengths multiplied."""

    __slots__ = ("_between", "_head", "_tail", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = text.split("*")
        self._head, self._tail = pieces[0], pieces[-1]
        self._between = None if len(pieces) == 1 else tuple(piece for piece in pieces[1:-1] if piece)

    def matches(self, text: str) -> bool:
        if self._between is None:
            return text == self.text
        place, end = len(self._head), len(text) - len(self._tail)
        if place > end or not text.startswith(self._head) or not text.endswith(self._tail):
            return False
        for piece in self._between:
            found = text.find(piece, place, end)
            if found < 0:
                return False
            place = found + len(piece)
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wildcard) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Wildcard({self.text!r})"


@dataclass(frozen=True, slots=True)
class Statement:
    """Actions as ``trtc:RemoveUser``, those with wildcards apart; resources complete, without other accounts'.

    Which actions the patterns match is remembered: a caller may have thousands of them, and be asked about for each of
    a hundred applications. Actions are those of the models, so that is a small number.
    """

    effect: Literal["allow", "deny"]
    actions: frozenset[str]
    patterns: tuple[Wildcard, ...]
    resources: frozenset[str]
    _matched: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def names(self, action: str) -> bool:
        named = action.removeprefix("name/")
        if named in self.actions or not self.patterns:
            return named in self.actions
        matched = self._matched.get(named)
        if matched is None:
            matched = self._matched[named] = any(pattern.matches(named) for pattern in self.patterns)
        return matched


@dataclass(frozen=True, slots=True)
class Document:
    """``text`` as it was given."""

    statements: tuple[Statement, ...]
    text: str


def parse_document(text: str, *, account_uin: str, known_actions: Collection[str] = ()) -> Document:
    """A document of that account. With ``known_actions``, other names of TRTC's are refused. Raises PolicyError."""
    content = _load(text)
    _check_keys(content, ("version", "statement"), "document", "")
    if content.get("version") != VERSION:
        raise PolicyError("version", f'version: must be "{VERSION}"')
    given = content.get("statement")
    if isinstance(given, dict):
        statements = [_statement(given, "statement", account_uin, known_actions)]
    elif isinstance(given, list) and 0 < len(given) <= MAX_STATEMENTS:
        statements = [
            _statement(each, f"statement.{index}", account_uin, known_actions) for index, each in enumerate(given)
        ]
    else:
        raise PolicyError("statement", f"statement: must be one statement or a list of 1 to {MAX_STATEMENTS}")
    return Document(tuple(statements), text)


def _load(text: str) -> dict[str, Any]:
    try:
        if len(text.encode()) > MAX_DOCUMENT:
            raise PolicyError("document", f"the document is longer than {MAX_DOCUMENT} bytes")
        content = json.loads(text, object_pairs_hook=_object)
    except PolicyError:
        raise
    except (ValueError, RecursionError) as error:
        raise PolicyError("document", f"the document is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise PolicyError("document", "the document must be a JSON object")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise PolicyError("document", f"{_shown(twice)} is there twice")
    return content


def _statement(given: object, path: str, account_uin: str, known_actions: Collection[str]) -> Statement:
    if not isinstance(given, dict):
        raise PolicyError("statement", f"{path}: must be an object")
    _check_keys(given, _STATEMENT_KEYS, "statement", f"{path}.")
    effect = given.get("effect")
    if effect != "allow" and effect != "deny":
        raise PolicyError("effect", f'{path}.effect: must be "allow" or "deny"')
    actions = tuple(dict.fromkeys(_action(each, place, known_actions) for place, each in _texts(given, "action", path)))
    resources = {_resource(each, place, account_uin) for place, each in _texts(given, "resource", path)}
    patterns = tuple(Wildcard(each) for each in sorted(actions) if "*" in each)
    return Statement(
        effect, frozenset(each for each in actions if "*" not in each), patterns, frozenset(resources - {""})
    )


def _check_keys(given: dict[str, Any], known: Collection[str], part: str, path: str) -> None:
    for key in given:
        if key in known:
            continue
        for name, why in _UNSUPPORTED.items():
            if key.lower().replace("_", "") == name.lower():
                raise PolicyError(name, f"{path}{name}: is not supported: {why}")
        if key.lower() in known:
            raise PolicyError(part, f"{path}{_shown(key)}: keys are written in lower case: {key.lower()}")
        raise PolicyError(part, f"{path}{_shown(key)}: there is no such key; there are {', '.join(known)}")


def _texts(given: dict[str, Any], key: str, path: str) -> list[tuple[str, str]]:
    """The texts under ``key``, each with its place."""
    value = given.get(key)
    if isinstance(value, str):
        return [(f"{path}.{key}", value)]
    if not isinstance(value, list) or not value:
        raise PolicyError(key, f"{path}.{key}: must be a text or a list of texts")
    for index, each in enumerate(value):
        if not isinstance(each, str):
            raise PolicyError(key, f"{path}.{key}.{index}: must be a text")
    return [(f"{path}.{key}.{index}", each) for index, each in enumerate(value)]


def _action(text: str, place: str, known_actions: Collection[str]) -> str:
    if text == "*":
        return "*"
    match = _ACTION.fullmatch(text)
    if match is None:
        raise PolicyError("action", f"{place}: {_shown(text)}: {_ACTION_FORMS}")
    service, name = match.groups()
    if service == "trtc" and "*" not in name and known_actions and name not in known_actions:
        raise PolicyError("action", f"{place}: {_shown(text)}: there is no action {_shown(name)} of trtc")
    if service == "trtc" and "*" in name and known_actions and not _matches_any(name, known_actions):
        raise PolicyError("action", f"{place}: {_shown(text)}: {_shown(name)} matches no action of trtc")
    return f"{service}:{name}"


def _matches_any(pattern: str, names: Iterable[str]) -> bool:
    matches = Wildcard(pattern).matches
    return any(matches(name) for name in names)


def _resource(text: str, place: str, account_uin: str) -> str:
    """Complete; empty if it is another account's."""
    if text == ANY:
        return ANY
    parts = text.split(":")
    if len(parts) != 6 or parts[0] != "qcs":
        raise PolicyError("resource", f"{place}: {_shown(text)}: {_RESOURCE_FORMS}")
    _, project, service, region, account, resource = parts
    if project or service not in ("trtc", "*", "") or region not in ("", "*"):
        raise PolicyError("resource", f"{place}: {_shown(text)}: {_RESOURCE_FORMS}")
    owner = _ACCOUNT.fullmatch(account)
    application = _APPLICATION.fullmatch("sdkappid/*" if resource == "*" else resource)
    if (account and owner is None) or application is None:
        raise PolicyError("resource", f"{place}: {_shown(text)}: {_RESOURCE_FORMS}")
    if owner is not None and owner[1] not in ("*", account_uin):
        return ""
    if application[1] == "*":
        return every_application(account_uin)
    return application_resource(account_uin, int(application[1]))


def _shown(text: str) -> str:
    return ascii(text[:100])
