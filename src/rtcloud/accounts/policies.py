"""The policy language: what a document says, and whether a set of documents allows an action. Pure.

A document allows or denies actions (``name/trtc:RemoveUser``) on resources. What is denied anywhere is denied, whatever
else allows it; what nothing allows is denied too. The only resources with parts are the applications of an account:

``*``                                   everything, and the only resource of actions that concern no application
``qcs::trtc::uin/U:sdkappid/N``         one application
``qcs::trtc::uin/U:sdkappid/*``         every application of the account

A document belongs to one account, so its resources are made complete when it is parsed: an empty account is that one,
and resources of others match nothing. Whether an application belongs to the caller's account is not asked here: a
resource ``*`` matches every application, so the gateway checks that beside.

Documents come from callers: their size, depth and number of statements are bounded, and wildcards are matched without
backtracking.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rtcloud.accounts.documents import (
    MAX_DOCUMENT,
    MAX_STATEMENTS,
    Document,
    PolicyError,
    Statement,
    parse_document,
)
from rtcloud.accounts.names import ANY, READING, application_resource, every_application

__all__ = [
    "ADMINISTRATOR_ACCESS",
    "ANY",
    "FULL_ACCESS",
    "MAX_DOCUMENT",
    "MAX_STATEMENTS",
    "PRESETS",
    "READ_ONLY_ACCESS",
    "Document",
    "PolicyError",
    "Preset",
    "Statement",
    "application_resource",
    "could_allow",
    "evaluate",
    "every_application",
    "parse_document",
]

FULL_ACCESS = "QcloudTRTCFullAccess"
READ_ONLY_ACCESS = "QcloudTRTCReadonlyAccess"
ADMINISTRATOR_ACCESS = "AdministratorAccess"


def evaluate(documents: Sequence[Document], action: str, resource: str, *, unless_denied: bool = False) -> bool:
    """Whether ``documents`` together allow ``action`` on ``resource``, which is one of the three forms above.

    Every application at once is allowed by a statement that covers all of them, and denied by one that denies any.
    ``unless_denied`` is for actions that need no permission: they are allowed without a word.
    """
    allowed = unless_denied
    for document in documents:
        for statement in document.statements:
            if statement.effect == "allow" and allowed:
                continue
            if not statement.names(action):
                continue
            if statement.effect == "allow":
                allowed = _covers(statement.resources, resource)
            elif _touches(statement.resources, resource):
                return False
    return allowed


def could_allow(documents: Sequence[Document], action: str) -> bool:
    """Whether there is an application that ``action`` is allowed on: asked when nobody knows which one it is about."""
    allowed: set[str] = set()
    denied: set[str] = set()
    for statement in _naming(documents, action):
        (allowed if statement.effect == "allow" else denied).update(statement.resources)
    if any(_is_all(resource) for resource in denied):
        return False
    return any(_is_all(resource) or resource not in denied for resource in allowed)


def _naming(documents: Iterable[Document], action: str) -> Iterable[Statement]:
    return (statement for document in documents for statement in document.statements if statement.names(action))


def _covers(resources: frozenset[str], resource: str) -> bool:
    """Of an allow: all of ``resource``."""
    return ANY in resources or (resource != ANY and (resource in resources or _whole_account(resource) in resources))


def _touches(resources: frozenset[str], resource: str) -> bool:
    """Of a deny: any part of ``resource``."""
    if _covers(resources, resource):
        return True
    if resource == ANY or not _is_all(resource):
        return False
    return any(each.startswith(resource[:-1]) for each in resources)


def _whole_account(resource: str) -> str:
    return resource[: resource.rfind("/") + 1] + "*"


def _is_all(resource: str) -> bool:
    return resource.endswith("*")


@dataclass(frozen=True, slots=True)
class Preset:
    policy_id: int
    name: str
    document: Document
    description: str


def _preset(policy_id: int, name: str, description: str, *actions: str) -> Preset:
    listed = ",".join(f'"{action}"' for action in actions)
    text = f'{{"version":"2.0","statement":[{{"effect":"allow","action":[{listed}],"resource":["*"]}}]}}'
    return Preset(policy_id, name, parse_document(text, account_uin=""), description)


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _preset(1, FULL_ACCESS, "Everything of TRTC", "name/trtc:*"),
        _preset(
            2,
            READ_ONLY_ACCESS,
            "Reading everything of TRTC but keys and what is made with them",
            *(f"name/trtc:{name}" for name in READING),
        ),
        _preset(3, ADMINISTRATOR_ACCESS, "Everything, access management too", "*"),
    )
}
